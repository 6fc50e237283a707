"""The status page in headless Chromium, of servers in every state that one can be in."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

import pytest
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
from live_server import wait_until
from reserved_port import bound_socket, port_of
from selenium import webdriver
from selenium.common.exceptions import JavascriptException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import WSGIRequestHandler, make_server

from cooperative_upload import StatusPage
from cooperative_upload.monitoring import status_page
from cooperative_upload.monitoring.board import DURATION_BOUNDS, LAG_BOUNDS, NUMBERS
from cooperative_upload.monitoring.overview import (
    STATES,
    HistogramOverview,
    Overview,
    UploadOverview,
    WorkerOverview,
)

pytestmark = pytest.mark.skipif(not IS_INSTALLED, reason=NEEDED)

TOKEN = "kQ3vT9-eY_7wLr2MzX0a"
HISTOGRAMS = (
    HistogramOverview(list(LAG_BOUNDS), [0] * (len(LAG_BOUNDS) + 1), 0.0),
    HistogramOverview(list(DURATION_BOUNDS), [0] * (len(DURATION_BOUNDS) + 1), 0.0),
)


def upload(number: int, **changed: Any) -> UploadOverview:
    made = UploadOverview(
        id=f"71-{number:x}",
        worker=71,
        client=f"192.0.2.{number % 250}",
        method="POST",
        path=f"/files/{number}.bin",
        received=250_000_000,
        expected=1_000_000_000,
        rate=5_000_000.0,
        seconds=float(1000 - number),
        state="reading",
        waited_for_turns=1.0,
        waited_for_client=20.0,
        waited_for_disk=0.5,
    )
    return replace(made, **changed)


def worker(pid: int = 71, **changed: Any) -> WorkerOverview:
    made = WorkerOverview(
        pid=pid, seconds=7500.0, silent_seconds=0.02, uploads=0, lag=[0.001] * 90
    )
    return replace(made, **changed)


@dataclass
class Server:
    """Serves the page; what there is to see is set by the test."""

    workers: list[WorkerOverview] = field(default_factory=lambda: [worker()])
    uploads: list[UploadOverview] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    answers: int = 0
    holding: threading.Event = field(default_factory=threading.Event)
    held: threading.Event = field(default_factory=threading.Event)
    reserved: socket.socket = field(default_factory=bound_socket)

    def __enter__(self) -> Server:
        page = StatusPage(["127.0.0.1"])
        mounts: dict[str, Any] = {"/upload-status": page, "/with-token": StatusPage(token=TOKEN)}
        application = DispatcherMiddleware(nothing, mounts)
        with bound_socket(port_of(self.reserved)) as listener:
            listener.listen(64)
            self._server = make_server(
                "127.0.0.1",
                0,
                application,
                threaded=True,
                request_handler=QuietHandler,
                fd=listener.fileno(),
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://{self.address}/upload-status/"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{port_of(self.reserved)}"

    def overview(self) -> Overview:
        if self.holding.is_set():
            self.held.set()
            wait_until(lambda: not self.holding.is_set(), "the answer is no longer held back")
        self.answers += 1
        numbers = {**dict.fromkeys(NUMBERS, 0), "uploads": len(self.uploads), **self.numbers}
        lag, duration = HISTOGRAMS
        return Overview(self.workers, self.uploads, numbers, lag, duration, duration)


class QuietHandler(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        """Not each request."""


def nothing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"nothing"]


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with headless_chromium() as driver:
        yield driver


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, browser: webdriver.Chrome) -> Iterator[Server]:
    server = Server()
    with server.reserved, server:
        monkeypatch.setattr(status_page, "overview", lambda: server.overview())
        yield server
        browser.get("about:blank")  # asks no more
        errors(browser)


def open_page(browser: webdriver.Chrome, server: Server, *, width: int = DESKTOP) -> None:
    look(browser, width=width)
    browser.get(server.url)
    wait_for_state(browser, "live")


def wait_for_state(browser: webdriver.Chrome, state: str) -> None:
    def is_so() -> bool:
        return browser.find_element(By.TAG_NAME, "body").get_attribute("data-state") == state

    wait_until(is_so, f"the page says {state}")


def wait_for_text(browser: webdriver.Chrome, selector: str, wanted: str) -> None:
    def content() -> Any:
        return browser.execute_script(
            "return document.querySelector(arguments[0])?.textContent", selector
        )

    try:
        wait_until(lambda: content() == wanted, f"{wanted!r} in {selector}")
    except AssertionError as error:
        error.args = (f"{error}; there is {content()!r}",)
        raise


def paths(browser: webdriver.Chrome) -> list[str]:
    found: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('#uploads .path')].map((path) => path.textContent)"
    )
    return found


def overflow(browser: webdriver.Chrome) -> int:
    """Pixels by which the page is wider than the window."""
    found: int = browser.execute_script(
        "const page = document.documentElement; return page.scrollWidth - page.clientWidth"
    )
    return found


# What it shows


def test_an_upload_is_shown_with_all_that_is_known(
    browser: webdriver.Chrome, server: Server
) -> None:
    server.uploads = [upload(1, state="waiting for the client", seconds=75.0)]
    open_page(browser, server)
    row = "#uploads tr"
    assert text(browser, f"{row} .path") == "/files/1.bin"
    assert text(browser, f"{row} .c-what .small") == "POST from 192.0.2.1"
    assert text(browser, f"{row} .amount") == "250 MB of 1.00 GB"
    assert text(browser, f"{row} .percent") == "25 %"
    assert text(browser, f"{row} .rate") == "5.00 MB/s"
    assert text(browser, f"{row} .age") == "1 min 15 s"
    assert text(browser, f"{row} .left") == "2 min 30 s left"
    assert text(browser, f"{row} .state") == "waiting for the client"
    waits = [text(browser, f"{row} .{kind}-time") for kind in ("turns", "client", "disk")]
    assert waits == ["1.0 s", "20 s", "0.5 s"]
    assert text(browser, f"{row} .pid") == "71"
    track = browser.find_element(By.CSS_SELECTOR, f"{row} .track")
    assert track.get_attribute("role") == "progressbar"
    assert track.get_attribute("aria-valuenow") == "25"
    assert track.get_attribute("aria-label") == "received of /files/1.bin"
    assert errors(browser) == []


def test_a_wait_that_goes_on_counts_too(browser: webdriver.Chrome, server: Server) -> None:
    """The server tells of those that are over: of a client that has stalled that would be none."""
    stalled = upload(1, state="waiting for the client", waited_for_client=0.0, rate=0.0)
    busy = upload(2, state="reading", waited_for_client=0.0)
    server.uploads = [stalled, busy]
    open_page(browser, server)
    assert text(browser, "#uploads .client-time") == "0.0 s"
    wait_until(lambda: text(browser, "#uploads .client-time") >= "1.0 s", "a second of waiting")
    assert text(browser, "#uploads .turns-time") == "1.0 s"
    assert text(browser, "#uploads tr:last-child .client-time") == "0.0 s"
    server.uploads = [replace(stalled, received=300_000_000, waited_for_client=7.0), busy]
    wait_for_text(browser, "#uploads .client-time", "7.0 s")


def test_a_body_of_unknown_length_has_a_bar_that_moves(
    browser: webdriver.Chrome, server: Server
) -> None:
    server.uploads = [upload(1, expected=None)]
    open_page(browser, server)
    track = browser.find_element(By.CSS_SELECTOR, "#uploads .track")
    assert track.get_attribute("aria-valuenow") is None
    assert text(browser, "#uploads .amount") == "250 MB, length unknown"
    assert text(browser, "#uploads .percent") == ""
    animations = "return document.querySelector('#uploads .fill').getAnimations().length"
    assert browser.execute_script(animations) == 1
    server.uploads = [upload(1)]
    wait_for_text(browser, "#uploads .percent", "25 %")
    assert track.get_attribute("aria-valuenow") == "25"


def test_all_states_can_be_shown(browser: webdriver.Chrome, server: Server) -> None:
    server.uploads = [upload(number, state=state) for number, state in enumerate(STATES)]
    open_page(browser, server)
    shown = [each.text for each in browser.find_elements(By.CSS_SELECTOR, "#uploads .state")]
    assert shown == list(STATES)


def test_what_clients_send_stays_text(browser: webdriver.Chrome, server: Server) -> None:
    """In rows, in titles, in labels; and there is no way to make markup of text by mistake."""
    hostile = "/<script>window.hit = 1</script><img src=x onerror='window.hit = 1'>\"'&amp;"
    server.uploads = [upload(1, path=hostile, client=hostile, method="<b>")]
    open_page(browser, server)
    assert paths(browser) == [hostile]
    assert text(browser, "#uploads .address") == hostile
    assert text(browser, "#uploads .method") == "<b>"
    assert browser.find_elements(By.CSS_SELECTOR, "#uploads :is(script, img, b)") == []
    with pytest.raises(JavascriptException, match="TrustedHTML"):
        browser.execute_script("document.body.innerHTML = arguments[0]", hostile)
    assert browser.execute_script("return window.hit") is None


def test_counters_show_what_they_changed_by(browser: webdriver.Chrome, server: Server) -> None:
    server.numbers = {"complete": 100, "bytes": 10**9, "lingering": 2}
    open_page(browser, server)
    server.numbers = {"complete": 103, "bytes": 3 * 10**9, "incomplete": 1, "lingering": 1}
    wait_for_text(browser, "[data-number=complete] .change", "+3")
    assert text(browser, "[data-number=complete] .total") == "103"
    assert text(browser, "[data-number=bytes] .change") == "+2.00 GB"
    assert text(browser, "[data-number=incomplete] .change") == "+1"
    assert text(browser, "[data-number=drained] .change") == "0"
    assert text(browser, "[data-number=lingering] .total") == "1"
    assert text(browser, "[data-number=lingering] .change") == ""
    assert [text(browser, f"#{name}") for name in ("complete", "broken")] == ["3", "1"]
    assert text(browser, "#complete-total") == "since opened\n103 in all"


def test_throughput_counts_uploads_while_they_run_and_once(
    browser: webdriver.Chrome, server: Server
) -> None:
    """When an upload ends its bytes are counted by the server, and no longer by the page."""
    server.uploads = [upload(1, received=0), upload(2, received=0)]
    open_page(browser, server)
    assert browser.execute_script("return change('bytes')") == 0
    server.uploads = [upload(1, received=10**9), upload(2, received=10**9)]
    wait_for_text(browser, "#received", "2.00 GB")
    assert text(browser, "#throughput").endswith("B/s")
    assert browser.execute_script("return throughput") > 10**8
    assert "2 uploads, " in browser.title
    server.uploads, server.numbers = [upload(2, received=10**9)], {"bytes": 10**9, "complete": 1}
    wait_for_text(browser, "#complete", "1")
    assert text(browser, "#received") == "2.00 GB"


def test_a_rate_is_worked_out_where_the_server_has_none(
    browser: webdriver.Chrome, server: Server
) -> None:
    server.uploads = [upload(1, received=0, rate=0.0)]
    open_page(browser, server)
    assert text(browser, "#uploads .rate") == "0 B/s"
    server.uploads = [upload(1, received=10**9, rate=0.0)]
    wait_until(lambda: text(browser, "#uploads .rate") != "0 B/s", "a rate")
    rate = browser.execute_script("return measured.get('71-1').rate")
    assert 10**9 / 20 < rate < 10**9 * 20  # of one or two seconds, on a busy machine of more


# Its rows


def test_rows_stay_the_same_elements(browser: webdriver.Chrome, server: Server) -> None:
    """Nothing flickers, and nothing is read out anew: what is selected stays so."""
    server.uploads = [upload(number) for number in range(4)]
    open_page(browser, server)
    browser.execute_script(
        "document.querySelectorAll('#uploads tr').forEach((row, i) => row.mark = i)"
    )
    server.uploads = [upload(0, received=10**9), upload(2), upload(3), upload(4)]
    wait_for_text(browser, "#uploads tr:last-child .path", "/files/4.bin")
    marks = browser.execute_script(
        "return [...document.querySelectorAll('#uploads tr')].map((row) => row.mark ?? null)"
    )
    assert marks == [0, 2, 3, None]
    assert text(browser, "#uploads .percent") == "100 %"


def test_the_last_row_goes(browser: webdriver.Chrome, server: Server) -> None:
    server.uploads = [upload(1)]
    open_page(browser, server)
    server.uploads = []
    wait_for_text(browser, "#none", "Nobody uploads at the moment.")
    assert paths(browser) == []
    assert not browser.find_element(By.ID, "table").is_displayed()


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("oldest", ["a", "b", "c"]),
        ("newest", ["c", "b", "a"]),
        ("slowest", ["b", "c", "a"]),
        ("fastest", ["a", "c", "b"]),
        ("left", ["c", "a", "b"]),
    ],
)
def test_the_order_can_be_chosen(
    browser: webdriver.Chrome, server: Server, order: str, expected: list[str]
) -> None:
    server.uploads = [
        upload(1, path="a", rate=9.0, expected=10**9),
        upload(2, path="b", rate=1.0, expected=None),
        upload(3, path="c", rate=5.0, expected=10**10),
    ]
    open_page(browser, server)
    Select(browser.find_element(By.ID, "order")).select_by_value(order)
    assert paths(browser) == expected


def test_uploads_can_be_found(browser: webdriver.Chrome, server: Server) -> None:
    """By the path, the client, the method, the state or the worker; and it stays so."""
    server.uploads = [upload(1), upload(2, client="2001:DB8::1", state="writing", worker=72)]
    open_page(browser, server)
    find = browser.find_element(By.ID, "find")
    for words in ("2.bin", "2001:db8", "WRITING", "72"):
        find.clear()
        find.send_keys(words)
        assert paths(browser) == ["/files/2.bin"]
        assert text(browser, "#shown") == "1 of 2 shown"
    answers = server.answers
    wait_until(lambda: server.answers > answers + 1, "the next answers")
    assert paths(browser) == ["/files/2.bin"]
    find.send_keys("nothing like that\n")
    assert text(browser, "#none") == "No upload in progress is like that."


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_hundreds_of_uploads_are_usable(
    browser: webdriver.Chrome, server: Server, width: int
) -> None:
    long = "/files/" + "a-long-name-" * 20
    server.uploads = [upload(number, path=f"{long}{number}") for number in range(300)]
    server.workers = [worker(pid) for pid in range(71, 87)]
    open_page(browser, server, width=width)
    assert len(paths(browser)) == 300
    assert overflow(browser) == 0
    assert browser.find_element(By.TAG_NAME, "h1").is_displayed()
    milliseconds = browser.execute_script(
        "const began = performance.now();"
        "for (let i = 0; i < 10; i += 1) { show(latest); document.body.offsetHeight; }"
        "return (performance.now() - began) / 10"
    )
    assert milliseconds < 250  # of each second; about 10 on a machine that has nothing else to do
    assert errors(browser) == []


def test_thousands_are_not_all_shown(browser: webdriver.Chrome, server: Server) -> None:
    """The rest can be found; those without a record can only be counted."""
    server.uploads = [upload(number) for number in range(1500)]
    server.numbers = {"uploads": 1600}
    open_page(browser, server)
    assert len(paths(browser)) == 500
    assert text(browser, "#shown") == "500 of 1,600 shown"
    browser.find_element(By.ID, "find").send_keys("/1499.")
    assert paths(browser) == ["/files/1499.bin"]


# Its workers


def bars(browser: webdriver.Chrome, pid: int, kind: str) -> list[list[float]]:
    """[left edge, height] of the bars of a chart, as shares of it."""
    found: list[list[float]] = browser.execute_script(
        "const chart = [...document.querySelectorAll('.worker')].find((card) =>"
        " card.querySelector('h3').textContent === 'Worker ' + arguments[0])"
        ".querySelector('svg');"
        "const {width, height} = chart.viewBox.baseVal;"
        "const d = chart.querySelector('path.' + arguments[1]).getAttribute('d');"
        "return [...d.matchAll(/M([\\d.]+) ([\\d.]+)V([\\d.]+)/g)]"
        ".map(([, x, from, to]) => [x / width, (from - to) / height])",
        pid,
        kind,
    )
    return found


def test_the_lag_of_each_worker_is_drawn(browser: webdriver.Chrome, server: Server) -> None:
    lag = [0.001] * 60 + [0.05] + [0.001] * 30 + [3.0] + [0.002]
    server.workers = [
        worker(71, lag=lag),
        worker(72, lag=[]),
        worker(73, silent_seconds=None, lag=[]),
    ]
    open_page(browser, server)
    summaries = [each.text for each in browser.find_elements(By.CSS_SELECTOR, ".worker .summary")]
    assert summaries == [
        "now 2.0 ms, greatest 3.0 s",
        "no second measured yet",
        "not measured in this process",
    ]
    fine, late, blocked = (bars(browser, 71, kind) for kind in ("fine", "late", "blocked"))
    assert (len(fine), len(late), len(blocked)) == (91, 1, 1)
    assert late[0][0] < blocked[0][0] < fine[-1][0]
    assert 0 < fine[0][1] < late[0][1] < blocked[0][1] < 1
    chart = browser.find_element(By.CSS_SELECTOR, ".chart")
    assert chart.get_attribute("aria-label") == (
        "Lag of worker 71 in the last two minutes: now 2.0 ms, greatest 3.0 s"
    )
    assert text(browser, "#lag") == "2.0 ms"
    assert text(browser, "#lag-greatest") == "greatest in 2 min\n3.0 s"
    assert not browser.find_element(By.ID, "silent").is_displayed()


def test_a_silent_worker_is_told_and_its_chart_stops(
    browser: webdriver.Chrome, server: Server
) -> None:
    server.workers = [worker(71), worker(72, silent_seconds=60.0)]
    open_page(browser, server)
    assert text(browser, "#silent").startswith("Silent: worker 72. Something holds the event loop")
    assert text(browser, ".worker.silent .summary") == "silent for 1 min 0 s"
    assert bars(browser, 71, "fine")[-1][0] > 0.97
    assert 0.4 < bars(browser, 72, "fine")[-1][0] < 0.6
    assert len(browser.find_elements(By.CSS_SELECTOR, ".worker.silent .silence")) == 1
    server.workers = [worker(71), worker(72)]
    wait_until(lambda: not browser.find_elements(By.CSS_SELECTOR, ".worker.silent"), "no warning")
    assert not browser.find_element(By.ID, "silent").is_displayed()


def test_workers_that_count_apart_are_told(browser: webdriver.Chrome, server: Server) -> None:
    """Whoever answers knows itself alone. A worker that has only gone says nothing of the kind."""
    server.workers, server.numbers = [worker(71)], {"complete": 100}
    began = time.monotonic()
    open_page(browser, server)
    server.workers, server.numbers = [worker(72)], {"complete": 100}
    wait_for_text(browser, ".worker h3", "Worker 72")
    assert not browser.find_element(By.ID, "apart").is_displayed()
    assert text(browser, "#complete") == "0"
    server.workers = [worker(71, seconds=7500.0 + time.monotonic() - began)]
    wait_until(browser.find_element(By.ID, "apart").is_displayed, "a notice")
    assert "cooperative_upload.share_statistics()" in text(browser, "#apart")
    assert text(browser, "#complete") == "–"  # noqa: RUF001


# When the server does not answer


def test_it_says_when_the_server_is_away_and_goes_on_when_it_is_back(
    browser: webdriver.Chrome, server: Server
) -> None:
    """With what was counted before, although the server begins at 0."""
    server.uploads, server.numbers = [upload(1)], {"complete": 100}
    open_page(browser, server)
    server.numbers = {"complete": 105}
    wait_for_text(browser, "#complete", "5")
    server.__exit__(None, None, None)
    try:
        wait_for_state(browser, "away")
        assert text(browser, "#what").startswith("The server has not answered since ")
        wait_until(lambda: " old." in text(browser, "#how-long"), "for how long")
        assert text(browser, "#state") == "no answer"
        assert browser.title == "No answer – Uploads"  # noqa: RUF001
        assert paths(browser) == ["/files/1.bin"]
        server.uploads, server.numbers = [], {"complete": 2}
    finally:
        server.__enter__()
    wait_for_state(browser, "live")
    assert not browser.find_element(By.ID, "trouble").is_displayed()
    wait_for_text(browser, "#complete", "7")
    assert text(browser, "#restarted").startswith("The server was started anew before ")
    assert paths(browser) == []
    assert browser.title == "0 uploads"


def test_it_says_when_it_is_let_in_no_longer(
    browser: webdriver.Chrome, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_page(browser, server)
    monkeypatch.setattr(StatusPage, "_refused_for", lambda *_: "No.")
    wait_for_state(browser, "away")
    assert text(browser, "#what").startswith("The server has not let this page in since ")
    monkeypatch.undo()


def test_it_asks_nothing_while_nobody_sees_it(browser: webdriver.Chrome, server: Server) -> None:
    open_page(browser, server)
    browser.execute_script(
        "window.waiting = new Set(); const set = setTimeout, clear = clearTimeout;"
        "window.setTimeout = (call, ms) => {"
        " const id = set(() => { waiting.delete(id); call(); }, ms);"
        " waiting.add(id); return id; };"
        "window.clearTimeout = (id) => { waiting.delete(id); clear(id); };"
    )
    answers = server.answers
    wait_until(lambda: server.answers > answers, "one that is counted")
    assert browser.execute_script("return waiting.size") == 1
    see(browser, hidden=True)
    wait_until(lambda: browser.execute_script("return waiting.size") == 0, "no timer")
    assert text(browser, "#state") == "paused while hidden"
    answers = server.answers
    see(browser, hidden=False)
    wait_for_state(browser, "live")
    wait_until(lambda: server.answers > answers + 1, "answers")


def test_what_it_asked_before_it_was_hidden_is_given_up(
    browser: webdriver.Chrome, server: Server
) -> None:
    """Or its answer would go on with asking, while nobody sees it."""
    open_page(browser, server)
    server.holding.set()
    try:
        wait_until(server.held.is_set, "a question without an answer")
        see(browser, hidden=True)
        assert browser.execute_script("return question") is None
    finally:
        server.holding.clear()
    see(browser, hidden=False)
    wait_for_state(browser, "live")
    assert text(browser, "#what") == ""


def test_an_answer_that_takes_long_is_told(browser: webdriver.Chrome, server: Server) -> None:
    """Before the page gives it up and asks anew."""
    open_page(browser, server)
    browser.execute_script(
        "window.told = [];"
        "new MutationObserver(() => told.push([document.body.dataset.state, trouble]))"
        ".observe(document.body, {attributeFilter: ['data-state']})"
    )
    server.holding.set()
    try:
        wait_for_state(browser, "away")
        assert text(browser, "#what").startswith("The server has not answered since ")
    finally:
        server.holding.clear()
    wait_for_state(browser, "live")
    assert browser.execute_script("return told.find(([state]) => state === 'away')[1]") == ""


def see(browser: webdriver.Chrome, *, hidden: bool) -> None:
    browser.execute_script(
        "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))",
        hidden,
    )


# How it looks


@pytest.mark.parametrize("width", [PHONE, 768, DESKTOP])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_and_can_be_read(
    browser: webdriver.Chrome, server: Server, width: int, dark: bool
) -> None:
    server.uploads = [
        upload(1, path="/files/" + "x" * 200),
        upload(2, client="2001:db8::" + "f:" * 15),
    ]
    server.workers = [worker(71), worker(72, silent_seconds=60.0), worker(10**7, seconds=10.0**7)]
    server.numbers = {"turns": 10**11, "bytes": 10**16}
    open_page(browser, server, width=width)
    server.numbers = {"turns": 2 * 10**11, "bytes": 10**16, "complete": 10**6, "killed": 7}
    wait_for_text(browser, "[data-number=killed] .change", "+7")
    look(browser, width=width, dark=dark)
    assert overflow(browser) == 0
    for selector in (
        "h1",
        "#host",
        "#silent",
        "dt",
        "dd.small",
        "#uploads .small",
        "#uploads .state",
        ".worker .about",
        ".worker.silent .summary",
        ".chart text",
        ".meaning",
        "[data-number=complete] .change",
        "[data-number=killed] .change",
        "[data-number=drained] .change",
        "footer a",
    ):
        assert contrast(browser, selector) > 4.5, selector  # WCAG 2, level AA
    assert errors(browser) == []


def test_it_needs_no_other_host(browser: webdriver.Chrome, server: Server) -> None:
    open_page(browser, server)
    loaded = browser.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert set(loaded) - {"data:,"} == {server.url + "status.json"}


def test_it_is_watched_with_a_token(browser: webdriver.Chrome, server: Server) -> None:
    """That the browser has from its address bar, or from whom it asked."""
    browser.get(f"http://anybody:{TOKEN}@{server.address}/with-token/")
    wait_for_state(browser, "live")
    answers = server.answers
    wait_until(lambda: server.answers > answers, "one more answer")
    assert text(browser, "#what") == ""
    assert errors(browser) == []
