"""Clients that stop, or trickle: how long a body and a request's headers may take."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from counters import counted
from http_client import (
    FORM_TYPE,
    Connection,
    Part,
    Response,
    chunk,
    content,
    data_description,
    form,
    form_description,
    head,
    pieces_of,
    request,
)
from live_server import Certificate, Gunicorn, LiveServer
from uwsgi import uwsgi_packet

APPLICATION = "ending_application:application"
CHUNKED = {"Transfer-Encoding": "chunked"}
BODY_SECONDS = 0.8
HEADER_SECONDS = 0.5
HANDSHAKE_FAILED = (
    f"TLS handshake with 127.0.0.1 failed: not done after {HEADER_SECONDS:g} seconds"
)
LATE = 5.0  # seconds: what has not happened by then happens for another reason
TIMEOUTS = {
    "COOPERATIVE_UPLOAD_BODY_TIMEOUT_SECONDS": str(BODY_SECONDS),
    "COOPERATIVE_UPLOAD_HEADER_TIMEOUT_SECONDS": str(HEADER_SECONDS),
}
MINIMUM_RATE = 20_000  # bytes a second
RATE = {
    **TIMEOUTS,
    "COOPERATIVE_UPLOAD_MIN_RATE_BYTES": str(MINIMUM_RATE),
    "COOPERATIVE_UPLOAD_MIN_RATE_WINDOW_SECONDS": "0.5",
}


@pytest.fixture(scope="module")
def plain_server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    """Without gunicorn's own limit on headers, which is that on idle connections."""
    with LiveServer(
        gunicorn, "--keep-alive", "0", application=APPLICATION, environment=TIMEOUTS
    ) as server:
        yield server
        assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def tls_server(gunicorn: Gunicorn, certificate: Certificate) -> Iterator[LiveServer]:
    with LiveServer(
        gunicorn,
        *("--keep-alive", "0"),
        application=APPLICATION,
        certificate=certificate,
        environment=TIMEOUTS,
    ) as server:
        yield server
        assert "Traceback" not in server.log()


@pytest.fixture(params=["plain", "TLS"])
def server(
    request: pytest.FixtureRequest, plain_server: LiveServer, tls_server: LiveServer
) -> LiveServer:
    return plain_server if request.param == "plain" else tls_server


def trickle(connection: Connection, pieces: list[bytes], seconds: float) -> None:
    """Send each piece, and then nothing for so long."""
    for piece in pieces:
        connection.send(piece)
        time.sleep(seconds)


def caught(server: LiveServer) -> Any:
    """What POST /catch has caught last."""
    with server.connect() as connection:
        connection.send_request("GET", "/caught", headers={"Connection": "close"})
        return connection.response().json()[-1]


def check_timed_out(response: Response, progress: str) -> None:
    text = response.body.decode()
    assert response.status == 408, text
    assert f"received {progress}, then nothing for {BODY_SECONDS:g} seconds." in text
    assert response.headers["connection"] == "close"


# Bodies


def test_body_that_stops_is_a_408(server: LiveServer) -> None:
    """In every framing, wherever it stops; and the connection is closed."""
    body = form(Part("file", content(1_000_000), "f.bin"))
    length = {"Content-Length": str(len(body)), "Content-Type": FORM_TYPE}
    chunks = {**CHUNKED, "Content-Type": FORM_TYPE}
    total = f" of {len(body):,} bytes"
    stopping = {
        head("POST", "/form", length): f"0{total}",
        head("POST", "/form", length) + body[:5000]: f"5,000{total}",
        head("POST", "/data", length) + body[:-1]: f"{len(body) - 1:,}{total}",
        head("POST", "/form", chunks): "0 bytes",
        head("POST", "/form", chunks) + chunk(body[:700_000]): "700,000 bytes",
        head("POST", "/data", chunks) + b"5\r\nabc": "3 bytes",
        head("POST", "/plain", chunks) + b"5\r\nabcde\r\n": "5 bytes",
    }
    connections = [server.connect() for _ in stopping]
    began = time.monotonic()
    with counted(server, timed_out=len(stopping)):
        for connection, sent in zip(connections, stopping, strict=True):
            connection.send(sent)
        for connection, progress in zip(connections, stopping.values(), strict=True):
            with connection:
                check_timed_out(connection.response(), progress)
                assert connection.is_closed()
    assert BODY_SECONDS * 0.9 < time.monotonic() - began < LATE
    assert f"Upload timed out: POST /form from 127.0.0.1, 5,000{total}" in server.log()


def test_application_sees_how_much_came(server: LiveServer) -> None:
    """The error has the numbers."""
    with server.connect() as connection:
        connection.send(head("POST", "/catch", {"Content-Length": "200000"}) + content(100_000))
        check_timed_out(connection.response(), "100,000 of 200,000 bytes")
    found = {"received": 100_000, "expected": 200_000, "seconds": BODY_SECONDS}
    assert caught(server) == {"class": "BodyTimeout", **found}


def test_slow_client_goes_on(server: LiveServer) -> None:
    """The limit is on each gap, and not on the whole."""
    part = Part("file", content(300_000), "f.bin")
    body = form(part)
    headers = {"Content-Length": str(len(body)), "Content-Type": FORM_TYPE}
    with server.connect() as known, server.connect() as unknown:
        known.send(head("POST", "/form", headers))
        unknown.send(head("POST", "/data", CHUNKED))
        for piece in pieces_of(body, len(body) // 5):
            unknown.send(chunk(b"abc"))
            trickle(known, [piece], BODY_SECONDS / 4)
        unknown.send(b"0\r\n\r\n")
        assert known.response().json() == form_description(part)
        assert unknown.response().json() == data_description(b"abc" * 6)


@pytest.mark.parametrize("framing", ["Content-Length", "chunked"])
def test_time_in_the_application_does_not_count(server: LiveServer, framing: str) -> None:
    """It reads a block, is busy for longer than the limit, and reads on."""
    body = content(3_000_000)
    path = f"/slowly?blocks=1&seconds={BODY_SECONDS * 1.3}"
    with server.connect() as connection:
        if framing == "chunked":
            connection.send(head("POST", path, CHUNKED) + chunk(body) + b"0\r\n\r\n")
        else:
            connection.send_request("POST", path, body)
        assert connection.response().json() == {"size": len(body)}


def hold_the_loop(connection: Connection) -> None:
    """Let the application stop everything for longer than all limits, and return soon after."""
    seconds = 2 * max(BODY_SECONDS, HEADER_SECONDS)
    trickle(connection, [request("POST", f"/hold?seconds={seconds}", b"")], HEADER_SECONDS / 4)


def test_body_that_comes_while_the_loop_stands_still(server: LiveServer) -> None:
    """It came in time, and nobody was there to read it."""
    body = content(200_000)
    with server.connect() as upload, server.connect() as holding:
        start = head("POST", "/data", {"Content-Length": str(len(body))})
        trickle(upload, [start + body[:100_000]], BODY_SECONDS / 8)
        hold_the_loop(holding)
        upload.send(body[100_000:])
        assert upload.response().json() == data_description(body)
        assert holding.response().body == b"held"


@pytest.fixture(scope="module")
def uwsgi_server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    with LiveServer(
        gunicorn,
        *("--protocol", "uwsgi"),
        application=APPLICATION,
        environment=TIMEOUTS,
        ready=lambda server: server.port,
    ) as server:
        yield server
        assert not server.own_tracebacks()


def test_uwsgi_body_that_stops_is_a_408(uwsgi_server: LiveServer) -> None:
    """The same for nginx's uwsgi_pass."""
    packet = uwsgi_packet("POST", "/catch", content(200_000))
    with uwsgi_server.connect() as connection:
        connection.send(packet[:-50_000])
        check_timed_out(connection.response(), "150,000 of 200,000 bytes")
        assert connection.is_closed()
    with uwsgi_server.connect() as connection:
        connection.send(uwsgi_packet("GET", "/caught", b""))
        found = connection.response().json()[-1]
    assert (found["class"], found["received"]) == ("BodyTimeout", 150_000)


# The rate of bodies


@pytest.fixture(scope="module")
def rate_server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    """A minimum rate; and connections may be idle for longer than headers may take."""
    with LiveServer(gunicorn, application=APPLICATION, environment=RATE) as server:
        yield server
        assert "Traceback" not in server.log()


@pytest.mark.parametrize("framing", ["Content-Length", "chunked"])
def test_body_that_comes_too_slowly_is_a_408(rate_server: LiveServer, framing: str) -> None:
    """With the rate it had, also for the application."""
    piece = content(100)
    if framing == "chunked":
        start, piece = head("POST", "/catch", CHUNKED), chunk(piece)
    else:
        start = head("POST", "/catch", {"Content-Length": "1000000"})
    with rate_server.connect() as connection, counted(rate_server, too_slow=1):
        connection.send(start)
        while not connection.has_answer():
            trickle(connection, [piece], 0.05)
        response = connection.response()
        assert response.status == 408
        assert f"at least {MINIMUM_RATE:,} are expected" in response.body.decode()
        assert connection.is_closed()
    error = caught(rate_server)
    assert error["class"] == "BodyTooSlow"
    assert error["expected"] == (None if framing == "chunked" else 1_000_000)
    assert 0 < error["received"] < 10_000


ENDLESS = {
    "extension of a chunk": b"5;" + b"x",
    "trailers": chunk(b"hello") + b"0\r\n" + b"X",
}


@pytest.mark.parametrize("what", ENDLESS)
def test_bytes_that_decide_nothing_are_no_body(rate_server: LiveServer, what: str) -> None:
    """They come often enough for every other limit."""
    with rate_server.connect() as connection, counted(rate_server, too_slow=1):
        connection.send(head("POST", "/data", CHUNKED) + ENDLESS[what])
        while not connection.has_answer():
            trickle(connection, [b"x"], 0.02)
        assert connection.response().status == 408
        assert connection.is_closed()


def test_tls_record_that_never_ends(gunicorn: Gunicorn, certificate: Certificate) -> None:
    """OpenSSL hands nothing of it out."""
    with (
        LiveServer(
            gunicorn, application=APPLICATION, certificate=certificate, environment=RATE
        ) as server,
        server.connect() as connection,
        counted(server, too_slow=1),
    ):
        connection.send(head("POST", "/data", {"Content-Length": "1000000"}))
        sock: Any = connection.sock
        sock.raw.sendall(b"\x17\x03\x03\x40\x00")  # a record of 16 KiB
        end = time.monotonic() + 3 * BODY_SECONDS
        while time.monotonic() < end:
            sock.raw.sendall(b"x")
            time.sleep(0.02)
        assert connection.response().status == 408


def test_body_that_comes_fast_enough_goes_on(rate_server: LiveServer) -> None:
    """Over several windows, with gaps."""
    body = content(1_000_000)
    with rate_server.connect() as connection:
        connection.send(head("POST", "/data", {"Content-Length": str(len(body))}))
        trickle(connection, pieces_of(body, 100_000), 0.15)
        assert connection.response().json() == data_description(body)


def test_rate_is_that_of_the_client(rate_server: LiveServer) -> None:
    """And not that of an application which takes its time."""
    body = content(3_000_000)
    with rate_server.connect() as connection:
        response = connection.post("/slowly?blocks=3&seconds=0.6", body)
        assert response.json() == {"size": len(body)}


# Headers and handshakes


def check_closed_in_time(began: float) -> None:
    assert HEADER_SECONDS * 0.9 < time.monotonic() - began < LATE


@pytest.mark.parametrize("sent", [b"", b"GET /ping HTTP/1.1\r\nHost: local"])
def test_connection_without_a_request_is_closed(server: LiveServer, sent: bytes) -> None:
    """Also without gunicorn's own limit; and one line says so."""
    before = server.log().count("No request from")
    with counted(server, headers_timed_out=1), server.connect() as connection:
        began = time.monotonic()
        connection.send(sent)
        assert connection.is_closed()
        check_closed_in_time(began)
    assert server.log().count("No request from 127.0.0.1: closed.") - before == 1


def test_headers_that_trickle_are_no_reason_to_wait(server: LiveServer) -> None:
    """The limit is on the whole, unlike that of a body."""
    with counted(server, headers_timed_out=1), server.connect() as connection:
        began = time.monotonic()
        connection.send(b"GET /ping HTTP/1.1\r\n")
        while not connection.has_answer() and time.monotonic() - began < LATE:
            trickle(connection, [b"X-Header: value\r\n"], HEADER_SECONDS / 10)
        assert connection.is_closed()
        check_closed_in_time(began)


def test_request_that_comes_while_the_loop_stands_still(server: LiveServer) -> None:
    """It came in time too."""
    with server.connect() as holding, server.connect() as waiting:
        trickle(waiting, [b"GET /ping HTTP/1.1\r\n"], HEADER_SECONDS / 8)
        hold_the_loop(holding)
        waiting.send(b"Host: localhost\r\n\r\n")
        assert waiting.response().body == b"pong"
        assert holding.response().body == b"held"


def test_answer_to_bad_headers_outlives_the_limit(server: LiveServer) -> None:
    """The client has it although it goes on to send for longer than headers may take."""
    start = b"POST /data HTTP/1.1\r\nContent-Length: 1000000\r\nBad Name: x\r\n\r\n"
    with counted(server, headers_timed_out=0, lingered=1), server.connect() as connection:
        trickle(connection, [start, *[content(1000)] * 6], HEADER_SECONDS / 4)
        response = connection.response()
        assert response.status == 400
        assert "Bad Name" in response.body.decode()


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
def test_handshake_that_stalls_is_ended(tls_server: LiveServer, sent: bytes) -> None:
    """Before its first byte and in the middle."""
    before = tls_server.log().count(HANDSHAKE_FAILED)
    with (
        counted(tls_server, handshake_failed=1, headers_timed_out=0),
        tls_server.connect_socket() as sock,
    ):
        began = time.monotonic()
        sock.sendall(sent)
        assert Connection(sock).is_closed()
        check_closed_in_time(began)
    found = tls_server.log().count(HANDSHAKE_FAILED)
    assert found - before == 1


def test_handshake_that_is_none_is_ended(tls_server: LiveServer) -> None:
    """Plain HTTP, and a client that goes away: a line each, and no traceback."""
    with counted(tls_server, handshake_failed=2):
        with tls_server.connect_socket() as sock:
            sock.sendall(request("GET", "/ping"))
            while not Connection(sock).is_closed():
                pass  # an alert may come first
        with tls_server.connect_socket() as sock:
            sock.shutdown(socket.SHUT_RDWR)


def test_idle_connection_is_not_a_new_one(rate_server: LiveServer) -> None:
    """Behind its first request gunicorn's keepalive is its limit."""
    with counted(rate_server, headers_timed_out=0), rate_server.connect() as connection:
        connection.ping()
        time.sleep(HEADER_SECONDS * 2)
        assert not connection.has_answer()
        connection.ping()
