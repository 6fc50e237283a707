"""Progress as pages see it: EventSource beside an upload of the same page, and the example."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT
from chromium import DESKTOP, IS_INSTALLED, NEEDED, PHONE, errors, headless_chromium, look
from http_client import content
from live_server import Gunicorn, LiveServer, wait_until
from selenium import webdriver
from selenium.webdriver.common.by import By

pytestmark = pytest.mark.skipif(not IS_INSTALLED, reason=NEEDED)

APPLICATION = "progress_application:application"

SIZE = 3_000_000  # bytes
RATE = 1_500_000  # bytes a second that the browser sends, so that there is something to see

# Uploads with an id while an EventSource follows it; leaves what it was told in window.told.
FOLLOWED_UPLOAD = """
const [send, size] = arguments;
const id = crypto.randomUUID();
window.told = []; window.ended = false; window.answered = 0;
const source = new EventSource("/progress?X-Progress-ID=" + id);
source.onmessage = (event) => window.told.push(JSON.parse(event.data));
source.onerror = () => { window.ended ||= source.readyState === EventSource.CLOSED; };
const body = new Uint8Array(size);
if (send === "fetch") {
  fetch("/swallow", {method: "POST", body, headers: {"X-Progress-ID": id}})
    .then((answer) => { window.answered = answer.status; });
} else {
  const request = new XMLHttpRequest();
  request.onload = () => { window.answered = request.status; };
  request.open("POST", "/swallow?X-Progress-ID=" + id);
  request.send(body);
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with headless_chromium() as driver:
        yield driver


@pytest.fixture(scope="module")
def server(newest: Gunicorn) -> Iterator[LiveServer]:
    with LiveServer(newest, "--workers", "2", application=APPLICATION) as server:
        yield server
        assert "Traceback" not in server.log()


def send_slowly(browser: webdriver.Chrome, rate: int = RATE) -> None:
    """rate: bytes a second; 0 for as many as go."""
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1}
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd(
        "Network.emulateNetworkConditions", {**conditions, "uploadThroughput": rate or -1}
    )


@pytest.mark.parametrize("send", ["fetch", "XMLHttpRequest"])
def test_an_upload_and_its_events(
    browser: webdriver.Chrome, server: LiveServer, send: str
) -> None:
    """Until it is done; then the browser comes back once, and is told to stay away."""
    browser.get(f"{server.url}/page")
    send_slowly(browser)
    browser.execute_script(FOLLOWED_UPLOAD, send, SIZE)
    wait_until(lambda: browser.execute_script("return window.ended"), "the end of the events")
    told: list[dict[str, Any]] = browser.execute_script("return window.told")
    uploading = [event for event in told if event["state"] == "uploading"]
    received = [event["received"] for event in uploading]
    assert len(received) > 5
    assert received == sorted(received)
    assert {event["size"] for event in uploading} == {SIZE}
    assert [event["state"] for event in told].count("done") == 1
    assert (told[-1]["state"], told[-1]["received"]) == ("done", SIZE)
    assert browser.execute_script("return window.answered") == 200
    assert errors(browser) == []


def test_a_page_of_another_origin(browser: webdriver.Chrome, server: LiveServer) -> None:
    """That of allow_origin may ask, in each way; from where it is not allowed no page may."""
    page = f"http://127.0.0.1:{server.port}"
    environment = {"ALLOW_ORIGIN": page}
    with LiveServer(server.gunicorn, application=APPLICATION, environment=environment) as other:
        browser.get(f"{page}/page")
        for path, allowed in (("shared", True), ("progress", False)):
            asked: list[str] = browser.execute_async_script(
                """
                const [url, done] = arguments;
                const id = crypto.randomUUID();
                const ask = (...how) => fetch(...how).then((a) => a.json()).then((p) => p.state)
                  .catch(() => "refused");
                const events = new Promise((resolve) => {
                  const source = new EventSource(url + "?X-Progress-ID=" + id);
                  const end = (state) => { source.close(); resolve(state); };
                  source.onmessage = (event) => end(JSON.parse(event.data).state);
                  source.onerror = () => end("refused");
                });
                Promise.all([
                  ask(url + "?X-Progress-ID=" + id),
                  ask(url, {headers: {"X-Progress-ID": id}}),
                  events,
                ]).then(done);
                """,
                f"http://localhost:{other.port}/{path}",
            )
            assert asked == ["starting" if allowed else "refused"] * 3
    browser.get_log("browser")  # type: ignore[no-untyped-call]  # it says what it refused


# The example


@pytest.fixture(scope="module")
def example(newest: Gunicorn) -> Iterator[LiveServer]:
    with LiveServer(
        newest,
        *("--workers", "2", "--pythonpath", str(ROOT), "--access-logfile", "-"),
        application="examples.progress:app",
        ready=lambda server: server.port,
    ) as server:
        yield server
        assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upload") / "holiday.mp4"
    path.write_bytes(content(SIZE))
    return path


def open_page(browser: webdriver.Chrome, example: LiveServer, query: str = "") -> None:
    send_slowly(browser, 0)
    browser.get(f"{example.url}/?{query}")
    errors(browser)  # of pages before
    # What it shows, whenever that changes: the state, the bar and the sentence.
    browser.execute_script(
        """
        window.shown = [];
        new MutationObserver(() => {
          const bar = document.getElementById("bar");
          const value = bar.hasAttribute("value") ? bar.value : null;
          window.shown.push([document.body.dataset.state, value,
            document.getElementById("status").textContent]);
        }).observe(document.getElementById("status"), {childList: true});
        """
    )


def upload(browser: webdriver.Chrome, file: Path) -> None:
    browser.find_element(By.NAME, "file").send_keys(str(file))
    browser.find_element(By.ID, "send").click()


def state(browser: webdriver.Chrome) -> str | None:
    return browser.find_element(By.TAG_NAME, "body").get_attribute("data-state")


def status(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.ID, "status").text


def bar_seen(browser: webdriver.Chrome) -> list[float]:
    """The lengths of the bar while it uploaded."""
    shown: list[tuple[str, float | None, str]] = browser.execute_script("return window.shown")
    return [value for state, value, _ in shown if state == "uploading" and value is not None]


@pytest.mark.parametrize(("width", "dark"), [(DESKTOP, False), (PHONE, True)])
def test_the_example_shows_what_has_arrived(
    browser: webdriver.Chrome, example: LiveServer, file: Path, width: int, dark: bool
) -> None:
    look(browser, width=width, dark=dark)
    open_page(browser, example)
    send_slowly(browser)
    upload(browser, file)
    wait_until(lambda: "MB/s" in status(browser), "a rate")
    wait_until(lambda: state(browser) in ("done", "failed"), "the end of the upload")
    assert status(browser) == "3.0 MB have arrived."
    seen = bar_seen(browser)
    assert len(set(seen)) > 2
    assert seen == sorted(seen)
    assert browser.find_element(By.ID, "bar").get_attribute("value") == "1"
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert errors(browser) == []


NO_EVENTS = {
    "no EventSource": "window.EventSource = undefined",
    "refused": """
        const Real = EventSource;
        window.EventSource = function (url) { return new Real("/there-is-no-such-page"); };
        window.EventSource.CLOSED = Real.CLOSED;
        """,
    "held back": "window.EventSource = class { close() {} }",
}


@pytest.mark.parametrize("way", NO_EVENTS)
def test_the_example_asks_where_events_do_not_get_through(
    browser: webdriver.Chrome, example: LiveServer, file: Path, way: str
) -> None:
    """And sends the id in the header alone."""
    mark = way.replace(" ", "-")
    open_page(browser, example, mark)
    browser.execute_script(NO_EVENTS[way])
    send_slowly(browser, SIZE // 5)
    upload(browser, file)
    wait_until(lambda: len(set(bar_seen(browser))) > 1, "two lengths of the bar")
    send_slowly(browser, 0)
    wait_until(lambda: state(browser) in ("done", "failed"), "the end of the upload")
    assert state(browser) == "done"
    # Streams of pages before are logged when they end, which may be now.
    asked = "\n".join(line for line in example.log().splitlines() if f'/?{mark}"' in line)
    assert '"GET /progress HTTP/1.1" 200' in asked
    assert "X-Progress-ID" not in asked


def test_the_example_can_be_cancelled(
    browser: webdriver.Chrome, example: LiveServer, file: Path
) -> None:
    """And another upload of the same page has an id of its own."""
    open_page(browser, example)
    send_slowly(browser, SIZE // 10)
    upload(browser, file)
    wait_until(lambda: bar_seen(browser), "progress")
    browser.find_element(By.ID, "cancel").click()
    wait_until(lambda: state(browser) == "cancelled", "its end")
    assert status(browser) == "Cancelled."
    send_slowly(browser, 0)
    browser.find_element(By.ID, "send").click()
    wait_until(lambda: state(browser) in ("done", "failed"), "the end of the next upload")
    assert state(browser) == "done"
    assert errors(browser) == []


def test_the_example_says_what_went_wrong(
    browser: webdriver.Chrome, example: LiveServer, file: Path
) -> None:
    open_page(browser, example)
    browser.execute_script("document.getElementById('form').action = '/missing'")
    upload(browser, file)
    wait_until(lambda: state(browser) == "failed", "its end")
    assert status(browser) == "The server refused it: status 404."


def test_the_example_needs_no_other_host() -> None:
    for name in ("progress.py", "progress.html"):
        text = (ROOT / "examples" / name).read_text()
        assert "https://" not in text
        assert "http://" not in text
