"""Connections on which no other request may be served: behind a broken body, or a cut response.

What the client sends there would be taken for a request where it is the rest of a body, and its
response for the rest of another.
"""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path

import pytest
from http_client import DEADLINE, Connection, chunk, content, head, request
from large_response_application import SIZE
from live_server import COOPERATIVE, STOCK, Certificate, Gunicorn, LiveServer, wait_until

CHUNKED = {"Transfer-Encoding": "chunked"}
DATA = content(100_000)

SOON = {
    "COOPERATIVE_UPLOAD_BODY_TIMEOUT_SECONDS": "0.3",
    "COOPERATIVE_UPLOAD_LINGERING_SECONDS": "0.5",
    "COOPERATIVE_UPLOAD_MAX_BODY_BYTES": "200000",
}

# What a client sends of a body that fails, and the status that it gets.
BROKEN = {
    "chunks that stall": (CHUNKED, chunk(DATA) + b"ffff\r\nbegun", 408),
    "chunks that are none": (CHUNKED, chunk(DATA) + b"oops\r\n", 400),
    "too many chunks": (CHUNKED, chunk(DATA) * 3, 413),
    "a length that stalls": ({"Content-Length": "150000"}, DATA, 408),
}

SERVED_BY = {
    "worker": (COOPERATIVE, "application"),
    "wrapper": (STOCK, "wrapped()"),
    "wrapper out of reach": (STOCK, "wrapped_out_of_reach()"),
}


def send_requests(connection: Connection, wire: bytes) -> None:
    """Again and again, until the server has closed the connection for good."""
    deadline = time.monotonic() + DEADLINE
    with contextlib.suppress(OSError):
        while time.monotonic() < deadline:
            connection.send(wire)
            time.sleep(0.01)
        raise AssertionError("the connection is never closed")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("served_by", SERVED_BY)
def test_nothing_behind_a_broken_body_is_a_request(
    gunicorn: Gunicorn, served_by: str, tls: bool, certificate: Certificate, tmp_path: Path
) -> None:
    """Neither what comes with it, nor what comes later, for as long as the client likes."""
    worker, application = SERVED_BY[served_by]
    with LiveServer(
        gunicorn,
        application=f"large_response_application:{application}",
        worker=worker,
        environment=SOON,
        certificate=certificate if tls else None,
    ) as server:
        for number, (headers, body, status) in enumerate(BROKEN.values()):
            made = tmp_path / str(number)
            smuggled = request("POST", f"/make?to={made}", b"", {})
            with server.connect() as connection:
                connection.send(head("POST", "/read", headers) + body)
                response = connection.response()
                assert response.status == status
                if served_by != "wrapper out of reach":
                    assert response.headers["connection"] == "close"
                send_requests(connection, smuggled)
            with server.connect() as connection:
                connection.ping()
            assert not made.exists(), number


def test_nothing_behind_an_error_page_is_a_request(gunicorn: Gunicorn, tmp_path: Path) -> None:
    """Where something around the wrapper answers what came of a broken body."""
    made = tmp_path / "made"
    with LiveServer(
        gunicorn,
        application="large_response_application:wrapped_in_an_error_page()",
        worker=STOCK,
        environment=SOON,
    ) as server:
        with server.connect() as connection:
            headers, body, _ = BROKEN["chunks that stall"]
            connection.send(head("POST", "/read", headers) + body)
            response = connection.response()
            assert (response.status, response.headers["connection"]) == (500, "close")
            send_requests(connection, request("POST", f"/make?to={made}", b"", {}))
        assert not made.exists()


@pytest.mark.parametrize("served_by", ["worker", "wrapper"])
def test_a_response_that_is_begun_and_not_sent_gives_way(
    gunicorn: Gunicorn, served_by: str
) -> None:
    """To the status of the body; and a client that goes on sending gets it, and no reset."""
    worker, application = SERVED_BY[served_by]
    with LiveServer(
        gunicorn,
        application=f"large_response_application:{application}",
        worker=worker,
        environment=SOON,
    ) as server:
        for headers, body, status in BROKEN.values():
            with server.connect() as connection:
                connection.send(head("POST", "/begun", headers) + body)
                if status == 413:
                    connection.send(chunk(DATA) * 20)
                response = connection.response()
                assert response.status == status
                assert response.headers["connection"] == "close"
                assert "The request body " in response.body.decode()


def everything_from(connection: Connection) -> bytes:
    received = bytearray()
    with contextlib.suppress(ConnectionError):
        while data := connection.sock.recv(1 << 20):
            received += data
    return bytes(received)


@pytest.mark.parametrize("kind", ["list", "generator", "file"])
@pytest.mark.parametrize(
    ("method", "served_by"), [("POST", "worker"), ("GET", "worker"), ("POST", "wrapper")]
)
def test_nothing_behind_a_cut_response_is_a_response(
    gunicorn: Gunicorn, served_by: str, method: str, kind: str, tmp_path: Path
) -> None:
    """The worker ends while a client reads slowly, with another request behind the first one."""
    worker, application = SERVED_BY[served_by]
    made = tmp_path / "made"
    with (
        LiveServer(
            gunicorn,
            "--graceful-timeout",
            "2",
            application=f"large_response_application:{application}",
            worker=worker,
        ) as server,
        server.connect() as connection,
    ):
        body = None if method == "GET" else DATA
        connection.send(
            request(method, f"/large?kind={kind}", body) + request("POST", f"/make?to={made}", b"")
        )
        wait_until(connection.has_answer, "the response to begin")
        server.signal(signal.SIGTERM)
        server.wait()
        received = everything_from(connection)
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.count(b"HTTP/1.1") == 1
    assert len(received) < SIZE
    assert not made.exists()
