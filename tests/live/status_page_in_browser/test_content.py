"""What the status page shows in headless Chromium: uploads, rows and workers."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from chromium import DESKTOP, IS_INSTALLED, NEEDED, PHONE, errors, text
from live_server import wait_until
from selenium import webdriver
from selenium.common.exceptions import JavascriptException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from status_page_in_browser import (
    Server,
    open_page,
    overflow,
    paths,
    upload,
    wait_for_text,
    worker,
)

from cooperative_upload.monitoring.overview import STATES

pytestmark = pytest.mark.skipif(not IS_INSTALLED, reason=NEEDED)


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
    assert (waits[0], waits[2]) == ("1.0 s", "0.5 s")
    assert float(waits[1].removesuffix(" s")) >= 20  # it goes on while the page is looked at
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
