"""The status page in headless Chromium when the server does not answer, and how it looks."""

from __future__ import annotations

import pytest
from chromium import DESKTOP, IS_INSTALLED, NEEDED, PHONE, contrast, errors, look, text
from live_server import wait_until
from selenium import webdriver
from selenium.webdriver.common.by import By
from status_page_in_browser import (
    TOKEN,
    Server,
    open_page,
    overflow,
    paths,
    upload,
    wait_for_state,
    wait_for_text,
    worker,
)

from cooperative_upload import StatusPage

pytestmark = pytest.mark.skipif(not IS_INSTALLED, reason=NEEDED)


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
