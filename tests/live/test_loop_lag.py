"""The loop's lag is measured, and who holds the loop is told, whoever it is."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
from http_client import Connection, content
from live_server import Gunicorn, LiveServer, wait_until

APPLICATION = "blocking_application:application"

HELD = 1.2  # seconds, far above loop_blocked_ms and what a busy machine holds up by itself

# A path, the method, and the function in which the loop is held.
HOLDERS = [
    ("/compute", "GET", "compute"),
    ("/call", "GET", "call_a_library_that_blocks"),
    ("/keep", "GET", "keep_the_interpreter"),
    ("/upload", "POST", "work_on_an_upload"),
]


def told(server: LiveServer) -> Any:
    """What overview() says in the worker that answers."""
    with server.connect() as connection:
        return get(connection, "/overview").json()


def get(connection: Connection, path: str) -> Any:
    connection.send_request("GET", path)
    return connection.response()


def hold(server: LiveServer, path: str, method: str = "GET", seconds: float = HELD) -> None:
    body = content(200_000) if method == "POST" else b""
    with server.connect() as connection:
        connection.send_request(method, f"{path}?seconds={seconds}", body)
        assert connection.response().status == 200


def after_the_second(server: LiveServer, condition: Any) -> Any:
    """An overview for which the condition holds; seconds are told when they are over."""

    def seen() -> Any:
        now = told(server)
        return now if condition(now) else None

    return wait_until(seen, "an overview as expected")


def more_than(lag: Any, seconds: float) -> int:
    """How many measurements were above that bound."""
    return sum(lag["counts"][lag["bounds"].index(seconds) + 1 :])


@pytest.mark.parametrize(("path", "method", "function"), HOLDERS)
def test_who_holds_the_loop_is_told(
    gunicorn: Gunicorn, path: str, method: str, function: str
) -> None:
    """With its stack, counted, and in the histogram and the greatest lag of its second."""
    with LiveServer(gunicorn, application=APPLICATION) as server:
        hold(server, path, method)
        now = after_the_second(server, lambda now: max(now["workers"][0]["lag"], default=0) >= 1)
        assert now["numbers"]["loop_blocked"] >= 1
        assert more_than(now["loop_lag"], 1.0) >= 1
        assert now["loop_lag"]["sum"] >= HELD - 0.05
        server.wait_for_log("held the event loop for")
        warning = server.log().partition("[WARNING] A greenlet held the event loop for ")[2]
        assert float(warning.split()[0]) >= 0.5
        stack, _, _ = warning.partition("\n[")
        assert f", in {function}\n" in stack
        assert "blocking_application.py" in stack


def test_a_loop_that_is_free_is_not_blamed(gunicorn: Gunicorn) -> None:
    """It is measured all the same, and each second is kept."""
    with LiveServer(gunicorn, application=APPLICATION) as server:
        now = after_the_second(server, lambda now: len(now["workers"][0]["lag"]) >= 2)
        assert sum(now["loop_lag"]["counts"]) >= 10
        assert now["workers"][0]["silent_seconds"] < 5
        assert "event loop" not in server.log()


def test_one_warning_a_minute(newest: Gunicorn) -> None:
    """All are counted; an application that blocks all the time does not fill the log."""
    with LiveServer(newest, application=APPLICATION) as server:
        for _ in range(3):
            hold(server, "/compute", seconds=0.7)
        now = after_the_second(server, lambda now: now["numbers"]["loop_blocked"] >= 3)
        assert now["numbers"]["loop_blocked"] >= 3
        assert len(re.findall("held the event loop", server.log())) == 1


def test_it_is_told_before_the_worker_is_killed(newest: Gunicorn) -> None:
    """gunicorn says no more than "WORKER TIMEOUT"; what it was stands in the line before."""
    with LiveServer(newest, "--timeout", "8", application=APPLICATION) as server:
        (worker,) = server.workers()
        with server.connect() as connection:
            connection.send_request("GET", "/compute?seconds=100")
            server.wait_for_log("WORKER TIMEOUT")
        before, _, _ = server.log().partition("WORKER TIMEOUT")
        _, _, warning = before.partition("has held the event loop for ")
        assert "and still does" in warning
        assert ", in compute\n" in warning
        wait_until(lambda: worker not in server.workers(), "the end of the worker")


def connection_to_another(server: LiveServer, pid: int, stack: contextlib.ExitStack) -> Connection:
    """A connection to a worker that is not the one with that process id."""

    def connected() -> Connection | None:
        connection = stack.enter_context(server.connect())
        return connection if int(get(connection, "/pid").body) != pid else None

    return wait_until(connected, "a connection to the other worker")


def test_others_see_a_worker_that_stands_still(newest: Gunicorn) -> None:
    """They tell for how long, and still its numbers."""
    with LiveServer(newest, "--workers", "2", application=APPLICATION) as server:
        wait_until(lambda: len(told(server)["workers"]) == 2, "both workers on the board")
        with contextlib.ExitStack() as stack:
            held = stack.enter_context(server.connect())
            held_pid = int(get(held, "/pid").body)
            asking = connection_to_another(server, held_pid, stack)
            held.send_request("GET", "/compute?seconds=3")

            def silent() -> bool:
                workers = get(asking, "/overview").json()["workers"]
                by_pid = {worker["pid"]: worker["silent_seconds"] for worker in workers}
                return bool(by_pid[held_pid] > 1)

            wait_until(silent, "one worker silent")
            assert held.response().status == 200


@pytest.mark.parametrize(
    ("setting", "measured"), [("LOOP_BLOCKED_MS", True), ("LOOP_PROBE_MS", False)]
)
def test_it_can_be_turned_off(newest: Gunicorn, setting: str, measured: bool) -> None:
    environment = {f"COOPERATIVE_UPLOAD_{setting}": "0"}
    with LiveServer(newest, application=APPLICATION, environment=environment) as server:
        hold(server, "/compute")
        hold(server, "/call")
        now = told(server)
        assert bool(sum(now["loop_lag"]["counts"])) == measured
        assert (now["workers"][0]["silent_seconds"] is not None) == measured
        assert now["numbers"]["loop_blocked"] == 0
        assert "event loop" not in server.log()
