"""The status page of real servers: of all their workers, whichever of them answers."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import pytest
from chromium import IS_INSTALLED, NEEDED, errors, headless_chromium, text
from http_client import Connection, Response, content, head
from live_server import Gunicorn, LiveServer, wait_until
from reserved_port import bound_socket, port_of
from selenium import webdriver
from status_application import TOKEN

APPLICATION = "status_application:application"
SIZE = 2_000_000  # bytes of an upload
TENTH = content(SIZE // 10)


class SlowUpload:
    """An upload that goes on when the test says so; a context manager."""

    def __init__(self, server: LiveServer, worker: int, path: str) -> None:
        self.worker = worker
        self.path = path
        self._connection = connection_to(server, worker)
        self._connection.send(head("POST", path, {"Content-Length": str(SIZE)}))

    def __enter__(self) -> SlowUpload:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.sock.close()

    def send_tenths(self, tenths: int) -> None:
        self._connection.send(TENTH * tenths)

    def answer(self) -> Response:
        return self._connection.response()


def connection_to(server: LiveServer, worker: int) -> Connection:
    """A connection that is served by that worker."""

    def made() -> Connection | None:
        connection = server.connect()
        connection.send_request("GET", "/pid")
        if int(connection.response().body) == worker:
            return connection
        connection.sock.close()
        return None

    return wait_until(made, f"worker {worker} takes a connection")


def status_from(server: LiveServer, worker: int) -> Any:
    """The data of the page as that worker tells it."""
    with connection_to(server, worker) as connection:
        connection.send_request("GET", "/upload-status/status.json")
        return connection.response().json()


@contextlib.contextmanager
def two_workers(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    with LiveServer(gunicorn, "--workers", "2", application=APPLICATION) as server:
        wait_until(lambda: len(workers_of(server)) == 2, "both workers tell of themselves")
        yield server


def workers_of(server: LiveServer) -> list[int]:
    """Those that the page shows."""
    with server.connect() as connection:
        connection.send_request("GET", "/upload-status/status.json")
        return sorted(each["pid"] for each in connection.response().json()["workers"])


def test_each_worker_tells_of_all(gunicorn: Gunicorn) -> None:
    with two_workers(gunicorn) as server:
        one, other = sorted(server.workers())
        with SlowUpload(server, one, "/files/a") as a, SlowUpload(server, other, "/files/b") as b:
            a.send_tenths(5)
            b.send_tenths(2)
            expected = {("/files/a", one, SIZE // 2), ("/files/b", other, SIZE // 5)}

            def told(by: int) -> set[tuple[str, int, int]]:
                uploads = status_from(server, by)["uploads"]
                return {(each["path"], each["worker"], each["received"]) for each in uploads}

            for worker in (one, other):
                wait_until(lambda: told(worker) == expected, "both uploads")  # noqa: B023
                status = status_from(server, worker)
                assert status["numbers"]["uploads"] == 2
                assert {each["pid"]: each["uploads"] for each in status["workers"]} == {
                    one: 1,
                    other: 1,
                }
                assert all(each["client"] == "127.0.0.1" for each in status["uploads"])
            a.send_tenths(5)
            b.send_tenths(8)
            assert [each.answer().json() for each in (a, b)] == [{"size": SIZE}] * 2
        for worker in (one, other):

            def numbers() -> Any:
                return status_from(server, worker)["numbers"]  # noqa: B023

            wait_until(lambda: numbers()["complete"] == 2, "both are complete")
            assert (numbers()["uploads"], numbers()["bytes"]) == (0, 2 * SIZE)


def test_the_lag_of_each_loop_is_told(gunicorn: Gunicorn) -> None:
    with two_workers(gunicorn) as server:
        worker = server.workers()[0]

        def lags() -> list[list[float]]:
            return [each["lag"] for each in status_from(server, worker)["workers"]]

        wait_until(lambda: all(lags()), "a second of each")
        assert all(0 <= lag < 20 for each in lags() for lag in each)
        workers = status_from(server, worker)["workers"]
        assert all(0 <= each["silent_seconds"] < 20 for each in workers)


def test_what_a_killed_worker_had_stays_counted(gunicorn: Gunicorn) -> None:
    with two_workers(gunicorn) as server:
        victim, survivor = server.workers()
        with SlowUpload(server, victim, "/files/lost") as lost:
            lost.send_tenths(3)
            wait_until(
                lambda: (
                    [each["received"] for each in status_from(server, survivor)["uploads"]]
                    == [3 * SIZE // 10]
                ),
                "it is shown",
            )
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: len({*workers_of(server)} - {victim}) == 2, "a new worker")
            status = status_from(server, survivor)
        assert status["uploads"] == []
        assert victim not in [each["pid"] for each in status["workers"]]
        numbers = status["numbers"]
        assert (numbers["uploads"], numbers["killed"]) == (0, 1)
        assert numbers["bytes"] == 3 * SIZE // 10


def test_who_is_let_in(gunicorn: Gunicorn) -> None:
    """What the server says of a client's address is what the page goes by."""
    with LiveServer(gunicorn, application=APPLICATION) as server:
        assert ask(server, "/upload-status/").status == 200
        assert ask(server, "/upload-status/", {"X-Forwarded-For": "127.0.0.1"}).status == 403
        assert ask(server, "/closed/").status == 403
        assert ask(server, "/with-token/").status == 401
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert ask(server, "/with-token/", bearer).status == 200
        redirected = ask(server, "/with-token")
        assert (redirected.status, redirected.headers["location"]) == (308, "./with-token/")
        with server.connect() as connection:
            connection.send_request("HEAD", "/upload-status/status.json")
            head = connection.response(bodiless=True)
            assert (head.status, head.headers["content-type"]) == (200, "application/json")
            connection.ping()  # nothing of a body is left in the connection


def test_a_unix_socket_needs_the_token(gunicorn: Gunicorn) -> None:
    with LiveServer(gunicorn, application=APPLICATION, unix=True) as server:
        refused = ask(server, "/upload-status/")
        assert refused.status == 403
        assert b"Unix socket" in refused.body
        assert ask(server, "/with-token/", {"Authorization": f"Bearer {TOKEN}"}).status == 200


def ask(server: LiveServer, path: str, headers: dict[str, str] | None = None) -> Response:
    with server.connect() as connection:
        connection.send_request("GET", path, headers=headers)
        return connection.response()


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    if not IS_INSTALLED:
        pytest.skip(NEEDED)
    with headless_chromium() as driver:
        yield driver


def open_page(browser: webdriver.Chrome, server: LiveServer) -> None:
    browser.get(f"http://127.0.0.1:{server.port}/upload-status")
    wait_until(lambda: text(browser, "#state").startswith("live"), "the first answer")


def rows(browser: webdriver.Chrome) -> dict[str, Any]:
    """What the page shows of each upload, by its path: [percent, worker]."""
    found: dict[str, Any] = browser.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('#uploads tr')].map((row) =>"
        " [row.querySelector('.path').textContent, [row.querySelector('.percent').textContent,"
        "  row.querySelector('.pid').textContent]]))"
    )
    return found


def bar_width(browser: webdriver.Chrome, path: str) -> str:
    width: str = browser.execute_script(
        "return [...document.querySelectorAll('#uploads tr')].find((row) =>"
        " row.querySelector('.path').textContent === arguments[0])"
        ".querySelector('.fill').style.width",
        path,
    )
    return width


def test_uploads_are_watched_from_their_first_byte_to_their_last(
    browser: webdriver.Chrome, newest: Gunicorn
) -> None:
    with two_workers(newest) as server:
        open_page(browser, server)
        assert text(browser, "#none") == "Nobody uploads at the moment."
        one, other = server.workers()
        with SlowUpload(server, one, "/files/a") as a, SlowUpload(server, other, "/files/b") as b:
            a.send_tenths(2)
            b.send_tenths(1)
            expected = {"/files/a": ["20 %", str(one)], "/files/b": ["10 %", str(other)]}
            wait_until(lambda: rows(browser) == expected, "both rows")
            assert bar_width(browser, "/files/a") == "20%"
            assert text(browser, "#in-progress") == "2"
            a.send_tenths(5)
            wait_until(lambda: rows(browser)["/files/a"][0] == "70 %", "the bar grows")
            assert bar_width(browser, "/files/a") == "70%"
            assert text(browser, "[data-number=complete] .change") == "0"
            a.send_tenths(3)
            assert a.answer().status == 200
            wait_until(lambda: list(rows(browser)) == ["/files/b"], "the row of the other alone")
            assert text(browser, "[data-number=complete] .change") == "+1"
        wait_until(lambda: rows(browser) == {}, "no row")
        wait_until(
            lambda: text(browser, "[data-number=incomplete] .change") == "+1", "it broke off"
        )
        assert text(browser, "#received") == "2.20 MB"
        assert errors(browser) == []
        browser.get("about:blank")


def test_a_worker_that_stands_still_is_seen_through_the_other(
    browser: webdriver.Chrome, newest: Gunicorn
) -> None:
    """Also if the browser's connection was to that one: it is given up."""
    with two_workers(newest) as server:
        stopped, _ = server.workers()
        open_page(browser, server)
        os.kill(stopped, signal.SIGSTOP)
        try:
            wait_until(
                lambda: text(browser, "#silent").startswith(f"Silent: worker {stopped}."),
                "a warning",
            )
        finally:
            os.kill(stopped, signal.SIGCONT)
        wait_until(lambda: not text(browser, "#silent"), "no warning")
        browser.get("about:blank")
        errors(browser)


def test_it_goes_on_after_a_restart(browser: webdriver.Chrome, newest: Gunicorn) -> None:
    """With what was counted before, although the new server begins at 0."""
    with bound_socket() as reserved:
        with server_on(port_of(reserved), newest) as first:
            open_page(browser, first)
            with SlowUpload(first, first.workers()[0], "/files/a") as a:
                a.send_tenths(10)
                assert a.answer().status == 200
            wait_until(lambda: text(browser, "#complete") == "1", "the upload is counted")
        wait_until(lambda: text(browser, "#state") == "no answer", "it is told")
        with server_on(port_of(reserved), newest) as second:
            wait_until(lambda: text(browser, "#state").startswith("live"), "an answer")
            assert text(browser, ".worker h3") == f"Worker {second.workers()[0]}"
            assert text(browser, "#complete") == "1"
            assert text(browser, "#complete-total") == "since opened\n0 in all"
            browser.get("about:blank")
        errors(browser)


def server_on(port: int, gunicorn: Gunicorn) -> LiveServer:
    """With one worker, on a port that is reserved."""
    bind = ("--reuse-port", "--bind", f"127.0.0.1:{port}")
    server = LiveServer(gunicorn, *bind, application=APPLICATION)
    server.port = port  # which gunicorn does not log then
    return server
