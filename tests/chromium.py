"""A headless Chromium for the tests."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

_CHROMIUM, _CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
IS_INSTALLED = bool(_CHROMIUM and _CHROMEDRIVER)
NEEDED = "needs Debian's packages chromium and chromium-driver"

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
