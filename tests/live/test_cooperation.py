"""Uploads starve nobody: neither small requests, nor each other, nor the worker's heartbeat."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from http_client import (
    Part,
    Response,
    chunked,
    content,
    data_description,
    form_description,
    head,
    pieces_of,
    request,
)
from live_server import COOPERATIVE, STOCK, Gunicorn, LiveServer
from uploads import ANNOUNCED, EndlessUpload, HalfUpload, pings_counted

CHUNKED = {"Transfer-Encoding": "chunked"}


def ping_on_kept_and_new_connections(server: LiveServer) -> None:
    with server.connect() as connection:
        for _ in range(50):
            connection.ping()
    for _ in range(20):
        with server.connect() as connection:
            connection.ping()


def test_small_requests_beside_a_form_that_never_ends(server: LiveServer) -> None:
    """All of them are answered in the middle of the upload, which goes on meanwhile."""
    with EndlessUpload(server, "/sizes", as_form=True) as upload:
        upload.wait_for(5_000_000)
        ping_on_kept_and_new_connections(server)
        upload.wait_for(5_000_000)
        response = upload.finish()
        assert response.json() == [upload.sent]


# Reads of 1,000 bytes: the client sends faster than that, so no read ever waits for the socket and
# lets others run by itself.
SATURATING = "/stream?read=1000"


@pytest.mark.parametrize("path", [SATURATING, "/plain?size=1000"])
def test_small_requests_beside_a_raw_body_that_never_ends(server: LiveServer, path: str) -> None:
    """The same; the answer proves that what was sent is also what was read."""
    with EndlessUpload(server, path) as upload:
        upload.wait_for(5_000_000)
        ping_on_kept_and_new_connections(server)
        upload.wait_for(5_000_000)
        response = upload.finish()
        assert response.status == 400
        assert f"received {upload.sent:,} of {ANNOUNCED:,} bytes" in response.body.decode()


def test_more_answers_than_on_the_stock_worker(newest: Gunicorn) -> None:
    """The point of it all: there, whoever comes while an upload runs waits for its end."""
    answers = {}
    for worker in (COOPERATIVE, STOCK):
        with (
            LiveServer(newest, worker=worker) as server,
            EndlessUpload(server, "/sizes", as_form=True) as upload,
        ):
            upload.wait_for(10_000_000)
            with pings_counted(server) as count:
                upload.wait_for(150_000_000)
                answers[worker] = count[0]
                upload.finish()
    assert answers[COOPERATIVE] >= 20
    assert answers[COOPERATIVE] > 4 * answers[STOCK], answers


@pytest.mark.parametrize("gunicorn", ["newest"], indirect=True)
@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        pytest.param("/plain?method=iterate", b"\n" * 100_000, {}, id="short lines"),
        pytest.param("/plain?method=readlines", b"\n" * 100_000, {}, id="list of lines"),
        pytest.param("/size", bytes(200_000_000), {}, id="one read of everything"),
        pytest.param("/size", chunked([b"x"] * 60_000), CHUNKED, id="tiny chunks"),
        pytest.param("/plain?size=1", bytes(200_000), {}, id="reads of one byte"),
    ],
)
def test_small_requests_beside_work_that_needs_no_waiting(
    server: LiveServer, path: str, body: bytes, headers: dict[str, str]
) -> None:
    """A body that is in the kernel's or gunicorn's buffers already is taken apart in turns."""
    wire = request("POST", path, body, headers)
    with server.connect() as connection, pings_counted(server) as count:
        connection.send(wire[: len(wire) // 2])
        before = count[0]
        connection.send(wire[len(wire) // 2 :])
        assert connection.response().status == 200
        assert count[0] - before >= 5


def test_stalled_uploads_hold_up_nobody(server: LiveServer) -> None:
    """Clients that stop in the middle; they get their answers when they go on."""
    with ExitStack() as stack:
        stalled = [stack.enter_context(HalfUpload(server)) for _ in range(5)]
        server.wait_for_spool()
        part = Part("file", content(5_000_000), "f.bin")
        with server.connect() as connection:
            assert connection.post_form("/form", part).json() == form_description(part)
            connection.ping()
        for upload in stalled:
            assert upload.finish().json() == form_description(upload.part)


def test_application_that_waits_between_two_reads_holds_up_nobody(server: LiveServer) -> None:
    """Other uploads, whole ones, go past it; the turn is not its own while it waits."""
    data = content(300_000)
    with ExitStack() as stack:
        waiting = [stack.enter_context(server.connect()) for _ in range(5)]
        for connection in waiting:
            connection.send(request("POST", "/stream/in-two-parts?name=test", data))
        with server.connect() as connection:
            for _ in range(5):
                assert connection.post("/data", data).json() == data_description(data)
                connection.ping()
            assert not any(other.has_answer() for other in waiting)
            assert connection.post("/go-on?name=test", b"").status == 200
        for connection in waiting:
            assert connection.response().json() == data_description(data)


def test_twenty_uploads_at_once(any_server: LiveServer) -> None:
    """Each arrives whole and gets its own answer."""
    parts = [Part("file", content(4_000_000 + i, seed=i), f"{i}.bin") for i in range(20)]

    def upload(part: Part) -> Response:
        with any_server.connect() as connection:
            return connection.post_form("/form", part)

    with ThreadPoolExecutor(len(parts)) as pool:
        responses = list(pool.map(upload, parts))
    for part, response in zip(parts, responses, strict=True):
        assert response.json() == form_description(part)


def test_all_of_several_endless_uploads_go_on(server: LiveServer) -> None:
    """First come, first served: none of them waits for ever."""
    with ExitStack() as stack:
        uploads = [stack.enter_context(EndlessUpload(server, SATURATING)) for _ in range(6)]
        for upload in uploads:
            upload.wait_for(8_000_000)
        with server.connect() as connection:
            connection.ping()


def test_trickling_uploads_beside_a_fast_one(server: LiveServer) -> None:
    """Clients that send a few bytes at a time are served, and slow nobody down."""
    data = content(2000)
    with ExitStack() as stack:
        stack.enter_context(EndlessUpload(server, SATURATING))
        slow = [stack.enter_context(server.connect()) for _ in range(20)]
        for connection in slow:
            connection.send(head("POST", "/data", {"Content-Length": str(len(data))}))
        for piece in pieces_of(data, 100):
            for connection in slow:
                connection.send(piece)
        for connection in slow:
            assert connection.response().json() == data_description(data)


def test_upload_of_three_timeouts(newest: Gunicorn) -> None:
    """The heartbeat goes on: no worker is killed in the middle of a long upload."""
    with LiveServer(newest, "--timeout", "2") as server:
        workers = server.workers()
        with EndlessUpload(server, SATURATING) as upload:
            ends = time.monotonic() + 6.5
            while time.monotonic() < ends:
                upload.wait_for(20_000_000)
            response = upload.finish()
            assert f"received {upload.sent:,} of" in response.body.decode()
        assert server.workers() == workers
        assert "WORKER TIMEOUT" not in server.log()
