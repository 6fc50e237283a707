"""The report and the demo, opened in headless Chromium: what a person would see there."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from checkout import ROOT
from chromium import (
    DESKTOP,
    IS_INSTALLED,
    NEEDED,
    PHONE,
    contrast,
    errors,
    headless_chromium,
    look,
    text,
)
from loadtest_runs import answers, wait_until
from measurements import measurement, probe
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By

from loadtest.clients.uploads import Upload
from loadtest.measuring.session import Results
from loadtest.reports import as_html, as_text
from loadtest.servers.processes import free_port
from loadtest.settings import Settings

pytestmark = pytest.mark.skipif(not IS_INSTALLED, reason=NEEDED)
LARGE = 1_000_000_000  # bytes: what the demo is for
BUSY = 2000  # ms: far above what a request waits for anything else on a machine that is busy


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with headless_chromium() as driver:
        yield driver


# The report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a report about a starved server and one that is not."""
    starved = tuple(0.5 + i / 100 for i in range(580))
    runs = [
        replace(
            measurement("old", 1, seconds=5.8),
            probes=tuple(probe(due, 6.3 - due) for due in starved),
        ),
        replace(
            measurement("new", 1, seconds=2.0),
            probes=tuple(probe(0.5 + i / 100, 0.001 + i % 7 / 5000) for i in range(200)),
            uploads=(Upload(0, 0.5, 2.5, 5, 10, 10, "cut (<reset> & gone)"),),
        ),
    ]
    found = as_text.findings(Results(Settings(), 10**9, tuple(runs)))
    found = replace(found, notes=["new: cut (<reset> & gone)"])
    page = as_html.render(found, command="python -m loadtest", facts={"kernel": "Linux"})
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(page)
    return file.as_uri()


def test_the_report_holds_verdict_table_pictures_and_notes(
    browser: webdriver.Chrome, report: str
) -> None:
    look(browser, width=DESKTOP)
    browser.get(report)
    assert text(browser, "h1").startswith("Worst request 5.8 s on old, 2.2 ms on new")
    assert len(browser.find_elements(By.CSS_SELECTOR, "tbody tr")) == 2
    assert text(browser, "#notes") == "new: cut (<reset> & gone)"
    picture = text(browser, "#timeline .wide svg")
    for word in ("old", "new", "1 upload", "longest wait 5.8 s", "10 ms", "seconds"):
        assert word in picture
    assert "uploads at once" in text(browser, "#against .wide svg")
    assert errors(browser) == []


def test_the_starving_gap_is_a_line_as_long_as_the_wait(
    browser: webdriver.Chrome, report: str
) -> None:
    """Its width on the page, in seconds of the axis."""
    look(browser, width=DESKTOP)
    browser.get(report)
    spans = browser.execute_script(
        "return [...document.querySelectorAll('#timeline .wide path')]"
        ".map((path) => path.getBoundingClientRect()).filter((box) => box.height < 6)"
        ".map((box) => box.width)"
    )
    panel = browser.execute_script(
        "return document.querySelector('#timeline .wide svg').getBoundingClientRect().width"
    )
    assert max(spans) > panel * 0.7  # 5.8 s of an axis that is 6.3 s long


def test_the_report_stands_alone(browser: webdriver.Chrome, report: str) -> None:
    browser.get(report)
    loaded = browser.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
        ".filter((name) => !name.startsWith('data:'))"
    )
    assert loaded == []


@pytest.mark.parametrize("width", [PHONE, 768, DESKTOP])
@pytest.mark.parametrize("dark", [False, True])
def test_the_report_fits_and_can_be_read(
    browser: webdriver.Chrome, report: str, width: int, dark: bool
) -> None:
    look(browser, width=width, dark=dark)
    browser.get(report)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    shown = [svg.is_displayed() for svg in browser.find_elements(By.CSS_SELECTOR, "#timeline svg")]
    assert shown == ([False, True] if width == PHONE else [True, False])
    for selector in ("h1", "figcaption", "td", "#timeline text"):
        assert contrast(browser, selector) > 4.5, selector  # WCAG 2, level AA


def right_edge(browser: webdriver.Chrome) -> object:
    """The colour that most of the last pixels of the table's rows have."""
    region = browser.find_element(By.CSS_SELECTOR, ".scroll")
    with Image.open(io.BytesIO(region.screenshot_as_png)) as picture:
        shown = picture.convert("RGB")
    colours = [shown.getpixel((shown.width - 1, row)) for row in range(shown.height)]
    return max(colours, key=colours.count)


@pytest.mark.parametrize("dark", [False, True])
def test_the_table_shows_where_there_is_more_of_it(
    browser: webdriver.Chrome, report: str, dark: bool
) -> None:
    """By a shadow at its right, on a phone, until one has scrolled there."""
    look(browser, width=DESKTOP, dark=dark)
    browser.get(report)
    plain = right_edge(browser)
    look(browser, width=PHONE, dark=dark)
    wait_until(lambda: right_edge(browser) != plain, 20.0)
    browser.execute_script("document.querySelector('.scroll').scrollLeft = 10000")
    wait_until(lambda: right_edge(browser) == plain, 20.0)


# The demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo's URL, on this project's worker."""
    port = free_port()
    command = [
        sys.executable, "-m", "gunicorn", "-k", "cooperative_upload.Worker",
        "-b", f"127.0.0.1:{port}", "--pythonpath", str(ROOT), "examples.demo:app",
    ]  # fmt: skip
    directory = tmp_path_factory.mktemp("demo")
    with subprocess.Popen(command, cwd=directory, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: answers(port), 20.0)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    file = tmp_path_factory.mktemp("large") / "holiday.mp4"
    block = os.urandom(1_000_000)
    with file.open("wb") as output:
        for _ in range(LARGE // len(block)):
            output.write(block)
    yield file
    file.unlink()


def state(browser: webdriver.Chrome) -> str | None:
    return browser.find_element(By.TAG_NAME, "body").get_attribute("data-state")


def milliseconds(shown: str) -> float:
    number, unit = shown.split()
    return float(number) * {"ms": 1, "s": 1000}[unit]


@pytest.mark.parametrize(("width", "dark"), [(DESKTOP, False), (PHONE, True)])
def test_latency_stays_flat_beside_an_upload_of_a_gigabyte(
    browser: webdriver.Chrome, demo: str, large_file: Path, width: int, dark: bool
) -> None:
    look(browser, width=width, dark=dark)
    browser.get(demo)
    wait_until(lambda: text(browser, "#longest-idle") != "–", 20.0)  # noqa: RUF001
    browser.find_element(By.ID, "file").send_keys(str(large_file))
    wait_until(lambda: state(browser) in ("done", "failed"), 90.0)
    assert text(browser, "#status").startswith("1.00 GB arrived in ")
    assert state(browser) == "done"
    assert text(browser, "#percent") == "100 %"
    # On the stock worker this is as long as the whole upload takes: seconds. The browser itself
    # has its share in it, and a test machine may be busy.
    assert milliseconds(text(browser, "#longest")) < 500
    assert text(browser, "#failed") == "0"
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert pixels_drawn(browser) > 500
    assert errors(browser) == []


def pixels_drawn(browser: webdriver.Chrome) -> int:
    """How many pixels of the graph are not empty."""
    count = browser.execute_script(
        "const canvas = document.getElementById('graph');"
        "const pen = canvas.getContext('2d');"
        "const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;"
        "let count = 0; for (let i = 3; i < data.length; i += 4) count += data[i] > 0;"
        "return count"
    )
    assert isinstance(count, int)
    return count


def test_a_gigabyte_is_sent_without_making_one(browser: webdriver.Chrome, demo: str) -> None:
    """To copy it would freeze the page, and take more memory than a browser gives it."""
    browser.get(demo)
    browser.execute_script(
        "window.copied = 0; window.File = class extends File { constructor(parts, ...more) {"
        "  super(parts, ...more);"
        "  for (const part of parts) window.copied += part.byteLength ?? 0;"
        "} }"
    )
    browser.find_element(By.ID, "random").click()
    wait_until(lambda: state(browser) in ("done", "failed"), 90.0)
    assert text(browser, "#status").startswith("1.00 GB arrived in ")
    assert text(browser, "#failed") == "0"
    assert browser.execute_script("return window.copied") <= LARGE / 100


def test_a_page_that_is_busy_is_not_taken_for_a_slow_server(
    browser: webdriver.Chrome, demo: str
) -> None:
    """The requests go on meanwhile, and wait no longer."""
    browser.get(demo)
    wait_until(lambda: text(browser, "#longest-idle") != "–", 20.0)  # noqa: RUF001
    answered = "return [...requests.values()].filter((each) => each.end).length"
    before = browser.execute_script(answered)
    browser.execute_script(f"for (const end = Date.now() + {BUSY}; Date.now() < end;);")
    wait_until(lambda: browser.execute_script(answered) >= before + BUSY / 100, 20.0)
    assert milliseconds(text(browser, "#longest-idle")) < BUSY / 2


def test_an_upload_can_be_cancelled(
    browser: webdriver.Chrome, demo: str, large_file: Path
) -> None:
    browser.get(demo)
    browser.find_element(By.ID, "file").send_keys(str(large_file))
    browser.execute_script("document.getElementById('cancel').click()")
    wait_until(lambda: state(browser) == "cancelled", 20.0)
    assert text(browser, "#status") == "Cancelled."


def test_a_refused_upload_says_so(browser: webdriver.Chrome, demo: str) -> None:
    browser.get(demo)
    browser.execute_script(
        "const open = XMLHttpRequest.prototype.open;"
        "XMLHttpRequest.prototype.open = function (method) { open.call(this, method, 'missing') };"
        "send(new File(['content'], 'a.txt'))"
    )
    wait_until(lambda: state(browser) == "failed", 20.0)
    assert text(browser, "#status") == "The server refused it: status 404."
