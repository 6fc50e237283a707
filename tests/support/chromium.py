"""A headless Chromium for the tests, and what a person would see in it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

_CHROMIUM, _CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
IS_INSTALLED = bool(_CHROMIUM and _CHROMEDRIVER)
NEEDED = "needs Debian's packages chromium and chromium-driver"

PHONE, DESKTOP = 390, 1280  # pixels of width

# No look-ups of other hosts at the start, and no sandbox, which root does not get.
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextlib.contextmanager
def headless_chromium(*options: str) -> Iterator[webdriver.Chrome]:
    """A browser that keeps what pages say in their console."""
    chrome = webdriver.ChromeOptions()
    chrome.binary_location = _CHROMIUM or ""
    for option in (*_OPTIONS, *options):
        chrome.add_argument(option)
    chrome.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=chrome, service=Service(_CHROMEDRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def look(browser: webdriver.Chrome, *, width: int, dark: bool = False) -> None:
    """Give the page a width and a colour scheme."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def errors(browser: webdriver.Chrome) -> list[object]:
    """What the page complained about in the console."""
    log: list[dict[str, object]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry for entry in log if entry["level"] == "SEVERE"]


def text(browser: webdriver.Chrome, selector: str) -> str:
    return browser.find_element(By.CSS_SELECTOR, selector).text


def contrast(browser: webdriver.Chrome, selector: str) -> float:
    """The ratio of luminances of the element's text and what it stands on."""
    colours = browser.execute_script(
        "const element = document.querySelector(arguments[0]);"
        "const style = getComputedStyle(element);"
        "const clear = (each) => getComputedStyle(each).backgroundColor === 'rgba(0, 0, 0, 0)';"
        "let ground = element; while (clear(ground)) ground = ground.parentElement;"
        "return [element instanceof SVGElement ? style.fill : style.color,"
        " getComputedStyle(ground).backgroundColor]",
        selector,
    )
    values = sorted(luminance(colour) for colour in colours)
    return (values[1] + 0.05) / (values[0] + 0.05)


def luminance(colour: str) -> float:
    """Of `rgb(r, g, b)`, as WCAG 2 defines it."""
    channels = [int(value) / 255 for value in colour.strip("rgba()").split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
