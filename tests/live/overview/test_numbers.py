"""The numbers of overview(), each where its value is known, and every ending."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from disk import small_file_system
from endings import EXAMPLES, LIMITS
from http_client import Connection, head
from live_server import Gunicorn, LiveServer, wait_until
from overview_states import LARGE
from overviews import (
    APPLICATION,
    BODY,
    SIZE,
    WithLength,
    by_its_client,
    by_others_work,
    numbers_added,
    numbers_of,
    told,
    wait_for_state,
    wait_for_uploads,
)
from uploads import HalfUpload

from cooperative_upload.monitoring.board import ENDINGS

# Numbers that are not in endings.py


def announce_unread(server: LiveServer) -> None:
    """An upload that takes one turn: before its view is called, which does not read."""
    with server.connect() as connection:
        connection.send(head("POST", "/unread", {"Content-Length": "1000000"}))
        assert connection.response().body == b"unread"


def test_turns(plain_server: LiveServer) -> None:
    """One for each upload that needs no more; none for what is small."""
    with numbers_added(plain_server, turns=5, unread=5, complete=3, grants_by_deadline=0):
        for _ in range(5):
            announce_unread(plain_server)
        for _ in range(3):
            with plain_server.connect() as connection:
                assert connection.post("/data", BODY[:60_000]).status == 200


def test_grants_by_deadline(gunicorn: Gunicorn) -> None:
    """Where somebody is ready all the time, each turn is granted by it."""
    environment = {"COOPERATIVE_UPLOAD_DEADLINE_MS": "1"}
    with LiveServer(gunicorn, application=APPLICATION, environment=environment) as server:
        with numbers_added(server, turns=2, grants_by_deadline=0):
            announce_unread(server)
            announce_unread(server)
        with (
            server.connect() as connection,
            numbers_added(server, turns=3, grants_by_deadline=3),
        ):
            connection.send_request("POST", "/spin?name=busy", b"")
            wait_until(lambda: server_waits(server, "busy"), "somebody to be busy")
            for _ in range(3):
                announce_unread(server)
            with server.connect() as other:
                other.post("/go-on?name=busy", b"")
            assert connection.response().body == b"spun"


def server_waits(server: LiveServer, name: str) -> bool:
    with server.connect() as connection:
        connection.send_request("GET", f"/waiting?name={name}")
        return bool(connection.response().json()[0])


def test_loop_blocked(plain_server: LiveServer) -> None:
    """By a view that holds it for longer than half a second, and by no shorter one."""
    with numbers_added(plain_server, loop_blocked=1):
        for seconds in ("0.05", "0.8"):
            with plain_server.connect() as connection:
                assert connection.post(f"/hold?seconds={seconds}", b"").status == 200


def test_bytes_that_are_thrown_away(plain_server: LiveServer) -> None:
    """Those that are drained, and those of a connection that lingers, which is no upload."""
    expected = {
        "drained": 1,
        "unread": 1,
        "lingered": 1,
        "lingering": 0,
        "uploads": 0,
        "bytes": SIZE + len(LARGE),
        "lingered_bytes": len(LARGE),
    }
    with numbers_added(plain_server, **expected):
        with plain_server.connect() as connection:
            assert connection.post("/unread", BODY).status == 200
        with plain_server.connect() as connection:
            connection.send(head("POST", "/unread", {"Content-Length": str(len(LARGE))}))
            assert connection.response().status == 200
            wait_until(lambda: numbers_of(plain_server)["lingering"] == 1, "it lingers")
            assert told(plain_server)["uploads"] == []
            assert numbers_of(plain_server)["uploads"] == 0
            connection.send(LARGE)


def test_arrival_and_turn_wait(plain_server: LiveServer) -> None:
    """Each upload is in both histograms once, in the classes of what it was held up for."""
    before = told(plain_server)
    with plain_server.connect() as connection:

        def begin(path: str, headers: dict[str, str]) -> WithLength:
            return WithLength(connection, path, headers)

        for hold in (by_its_client, by_others_work):
            with hold(plain_server, begin) as held:
                wait_until(
                    lambda held=held: age_of(plain_server, held.path) > 0.6,  # type: ignore[misc]
                    "more than half a second",
                )
    wait_for_uploads(plain_server, 0)
    now = told(plain_server)
    assert classes_added(before, now, "arrival", above=0.5) == 2
    assert classes_added(before, now, "turn_wait", above=0.5) == 1
    assert 1.1 < now["arrival"]["sum"] - before["arrival"]["sum"] < 20
    assert 0.5 < now["turn_wait"]["sum"] - before["turn_wait"]["sum"] < 20


def age_of(server: LiveServer, path: str) -> float:
    ages = [each["seconds"] for each in told(server)["uploads"] if each["path"] == path]
    return max(ages, default=0.0)


def classes_added(before: dict[str, Any], now: dict[str, Any], name: str, above: float) -> int:
    """How many values above a bound a histogram got."""
    first = before[name]["bounds"].index(above) + 1
    counts: list[int] = now[name]["counts"]
    counts_before: list[int] = before[name]["counts"]
    return sum(counts[first:]) - sum(counts_before[first:])


# Every ending


@pytest.fixture(scope="module")
def limited_server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    with small_file_system(2_000_000) as directory:
        environment = {**LIMITS, "COOPERATIVE_UPLOAD_SPOOL_DIRECTORY": str(directory)}
        with LiveServer(gunicorn, application=APPLICATION, environment=environment) as server:
            yield server


@pytest.mark.parametrize("ending", EXAMPLES)
def test_no_upload_is_left_behind(limited_server: LiveServer, ending: str) -> None:
    """However it ends it is told no more, counted once, and its response in one histogram."""
    before = told(limited_server)
    added = {**dict.fromkeys(ENDINGS, 0), ending: 1}
    with numbers_added(limited_server, **added), limited_server.connect() as connection:
        EXAMPLES[ending].behave(connection)
        assert connection.response().status == EXAMPLES[ending].status
    now = told(limited_server)
    assert now["uploads"] == []
    assert (now["numbers"]["uploads"], now["workers"][0]["uploads"]) == (0, 0)
    for name in ("arrival", "turn_wait"):
        assert sum(now[name]["counts"]) - sum(before[name]["counts"]) == 1
    wait_until(lambda: not numbers_of(limited_server)["lingering"], "nothing lingers")


def test_nothing_is_left_of_clients_that_vanish(gunicorn: Gunicorn) -> None:
    """At any point, in the middle of a wait too."""
    environment = {
        "COOPERATIVE_UPLOAD_MAX_UPLOADS": "1",
        "COOPERATIVE_UPLOAD_MAX_UPLOADS_WAIT_SECONDS": "0.3",
    }
    with LiveServer(gunicorn, application=APPLICATION, environment=environment) as server:
        with numbers_added(server, uploads=0, incomplete=4, turned_away=4):
            for goodbye in (Connection.reset, Connection.die, Connection.vanish):
                with server.connect() as first, server.connect() as second:
                    first.send(head("POST", "/stream", {"Content-Length": str(SIZE)}) + BODY[:9])
                    wait_for_state(server, "waiting for the client", "/stream")
                    # Too large to be drained, by which it would end instead.
                    size = str(len(LARGE))
                    second.send(head("POST", "/data", {"Content-Length": size}) + LARGE[:9])
                    wait_for_state(server, "waiting for a place", "/data")
                    goodbye(second)
                    wait_for_uploads(server, 1)
                    goodbye(first)
                    wait_for_uploads(server, 0)
            with HalfUpload(server), server.connect() as second:
                assert second.post("/data", LARGE).status == 503
        wait_for_uploads(server, 0)
