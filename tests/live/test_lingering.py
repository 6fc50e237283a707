"""Connections that are read from behind their response, and how long."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest
from counters import counted, statistics
from http_client import (
    DEADLINE,
    Connection,
    content,
    head,
)
from live_server import Certificate, Gunicorn, LiveServer, wait_until

KIB = 1024
BLOCK = 64 * KIB


def endless(connection: Connection) -> None:
    """Send until the server has had enough, for as long as DEADLINE."""
    block = content(64 * KIB)
    end = time.monotonic() + DEADLINE
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < end:
            connection.send(block)


def begin_unread_upload(connection: Connection) -> None:
    """Up to the whole response, of a body of which one block was sent."""
    fields = {"Content-Length": str(1 << 40)}
    connection.send(head("POST", "/unread", fields) + content(BLOCK))
    response = connection.response()
    assert (response.body, response.headers["connection"]) == (b"unread", "close")


@pytest.fixture(scope="module", params=["plain", "TLS"])
def impatient_server(
    request: pytest.FixtureRequest, gunicorn: Gunicorn, certificate: Certificate
) -> Iterator[LiveServer]:
    """Connections linger for a short time."""
    environment = {
        "COOPERATIVE_UPLOAD_LINGERING_SECONDS": "2",
        "COOPERATIVE_UPLOAD_LINGERING_IDLE_SECONDS": "0.5",
    }
    with LiveServer(
        gunicorn,
        application="ending_application:application",
        certificate=certificate if request.param == "TLS" else None,
        environment=environment,
    ) as server:
        yield server


def test_client_that_never_stops_is_cut(impatient_server: LiveServer) -> None:
    """lingering_seconds after its response; small requests are answered meanwhile."""
    with (
        counted(impatient_server, lingering_cut=1, lingering=0),
        impatient_server.connect() as connection,
        impatient_server.connect() as other,
    ):
        begin_unread_upload(connection)
        began = time.monotonic()
        sender = threading.Thread(target=endless, args=[connection], daemon=True)
        sender.start()
        pings = 0
        while sender.is_alive():
            other.ping()
            pings += 1
        assert 1.8 < time.monotonic() - began < DEADLINE / 2
        assert pings > 20


def test_idle_client_is_cut(impatient_server: LiveServer) -> None:
    """lingering_idle_seconds after its last byte."""
    with (
        counted(impatient_server, lingering_cut=1, lingering=0),
        impatient_server.connect() as connection,
    ):
        begin_unread_upload(connection)
        began = time.monotonic()
        wait_until(lambda: not statistics(impatient_server)["lingering"], "the end of lingering")
        assert 0.3 < time.monotonic() - began < 1.8


@pytest.fixture(scope="module")
def narrow_server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    """Two connections linger at once, for longer than a test takes."""
    environment = {
        "COOPERATIVE_UPLOAD_LINGERING_CONNECTIONS": "2",
        "COOPERATIVE_UPLOAD_LINGERING_SECONDS": "60",
        "COOPERATIVE_UPLOAD_LINGERING_IDLE_SECONDS": "60",
    }
    with LiveServer(
        gunicorn, application="ending_application:application", environment=environment
    ) as server:
        yield server


def test_oldest_lingering_connection_makes_room(narrow_server: LiveServer) -> None:
    """The others go on."""
    with contextlib.ExitStack() as stack:
        first, second, third = (stack.enter_context(narrow_server.connect()) for _ in range(3))
        with counted(narrow_server, lingered=3, lingering=2, lingering_cut=1):
            for connection in (first, second, third):
                begin_unread_upload(connection)
        endless(first)  # returns by the reset
        before = statistics(narrow_server)["lingered_bytes"]
        for connection in (second, third):
            connection.send(content(1_000_000))
        wait_until(
            lambda: statistics(narrow_server)["lingered_bytes"] - before >= 2_000_000,
            "what the other two send is thrown away",
        )
    wait_until(lambda: not statistics(narrow_server)["lingering"], "the clients' end is seen")


def test_whole_body_ends_lingering_at_once(narrow_server: LiveServer) -> None:
    """A client that has sent all need not close first."""
    with (
        narrow_server.connect() as connection,
        counted(narrow_server, lingered=1, lingering=0, lingering_cut=0),
    ):
        response = connection.post("/unread", content(1_000_000))
        assert response.headers["connection"] == "close"
        assert connection.is_closed()
