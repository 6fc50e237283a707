"""The same promises over TLS and over HTTP/2."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from http2_client import Http2Connection
from http_client import (
    FORM_TYPE,
    Part,
    chunk,
    chunked,
    content,
    data_description,
    form,
    form_description,
    head,
    pieces_of,
    request,
)
from live_server import Certificate, Gunicorn, LiveServer, wait_until

CHUNKED = {"Transfer-Encoding": "chunked"}
SIZES = [0, 1, 16_383, 16_384, 16_385, 65_536, 65_537, 512_001, 3_000_000]


@pytest.fixture(scope="module")
def tls_server(gunicorn: Gunicorn, certificate: Certificate) -> Iterator[LiveServer]:
    """One server for HTTP/1.1 and HTTP/2, as the client likes."""
    options = ("--http-protocols", "h2,h1")
    with LiveServer(gunicorn, *options, certificate=certificate) as server:
        yield server


@pytest.fixture
def server(tls_server: LiveServer) -> Iterator[LiveServer]:
    """Each test has to leave it without a spool or a traceback, and able to answer."""
    yield tls_server
    with tls_server.connect() as connection:
        connection.ping()
    (worker,) = tls_server.workers()
    wait_until(lambda: not tls_server.spooled_descriptors(worker), "no spool is left")
    assert tls_server.spooled_names() == []
    if tls_server.gunicorn.version >= (27,):
        assert "Traceback" not in tls_server.log()
    assert not tls_server.own_tracebacks()


@pytest.mark.parametrize("size", SIZES)
def test_tls_upload_arrives_whole(server: LiveServer, size: int) -> None:
    """In both framings, as a form and raw, whatever part of a record a read ends in."""
    part = Part("file", content(size), "f.bin")
    with server.connect() as connection:
        assert connection.post_form("/form", part).json() == form_description(part)
        for path in ("/data", "/stream?read=1000", "/stream?read=20000"):
            response = connection.post(path, part.content)
            assert response.json() == data_description(part.content)
        body = chunked(pieces_of(part.content, 17_000))
        assert connection.post("/data", body, CHUNKED).json() == data_description(part.content)


def test_tls_pipelined_small_requests_in_one_record(server: LiveServer) -> None:
    """What OpenSSL has decrypted does not make the socket readable; it is read all the same."""
    bodies = [content(size) for size in (10, 1000, 0, 1, 2000)]
    with server.connect() as connection:
        for _ in range(20):
            connection.send(b"".join(request("POST", "/data", body) for body in bodies))
            for body in bodies:
                assert connection.response().json() == data_description(body)


def test_tls_body_in_one_record_with_its_headers(server: LiveServer) -> None:
    """A record is up to 16 KiB, and gunicorn's parser reads 8 KiB of it."""
    data = content(15_000)
    with server.connect() as connection:
        connection.send(request("POST", "/data", data))
        assert connection.response().json() == data_description(data)
        connection.send(request("POST", "/stream?read=1", data))
        assert connection.response().json() == data_description(data)


@pytest.mark.parametrize("path", ["/form", "/data", "/limited/form", "/plain"])
@pytest.mark.parametrize("cut", [0, 5000, 600_000])
def test_tls_upload_that_ends_early_is_a_400(server: LiveServer, path: str, cut: int) -> None:
    """In both framings, where the client ends TLS in its direction and reads on."""
    body = form(Part("file", content(700_000), "f.bin"))
    headers = {"Content-Type": FORM_TYPE}
    with server.connect() as connection:
        length = {"Content-Length": str(len(body))}
        connection.send(head("POST", path, {**headers, **length}) + body[:cut])
        connection.end_sending()
        response = connection.response()
        assert response.status == 400
        assert f"received {cut:,} of {len(body):,} bytes" in response.body.decode()
        assert connection.is_closed()
    with server.connect() as connection:
        connection.send(head("POST", path, {**headers, **CHUNKED}))
        connection.send(chunk(body[:cut]) if cut else b"")
        connection.end_sending()
        assert connection.response().status == 400
        assert connection.is_closed()


@pytest.mark.parametrize("path", ["/form", "/data", "/limited/form", "/plain"])
@pytest.mark.parametrize("cut", [0, 5000, 600_000])
def test_tls_client_that_dies_gets_no_success(server: LiveServer, path: str, cut: int) -> None:
    """A FIN without TLS's own end: OpenSSL sends no more, and the request is still no success."""
    body = form(Part("file", content(700_000), "f.bin"))
    headers = {"Content-Type": FORM_TYPE, "Content-Length": str(len(body))}
    with server.connect() as connection:
        connection.send(head("POST", path, headers) + body[:cut])
        connection.die()
        response = connection.response_or_none()
        assert response is None or response.status == 400


def test_tls_upload_that_is_reset(server: LiveServer) -> None:
    """Leaves no traceback and no spool."""
    body = form(Part("file", content(2_000_000), "f.bin"))
    for cut in (0, 5000, 1_000_000):
        with server.connect() as connection:
            connection.send(request("POST", "/form", body, {"Content-Type": FORM_TYPE})[:cut])
            connection.reset()


@pytest.fixture
def http2(server: LiveServer) -> Iterator[Http2Connection]:
    with server.connect(protocols=("h2",)) as connection:
        yield Http2Connection(connection)


@pytest.mark.parametrize("size", SIZES)
def test_http2_upload_arrives_whole(http2: Http2Connection, size: int) -> None:
    """As a form, raw and without a length."""
    part = Part("file", content(size), "f.bin")
    response = http2.post("/form", form(part), {"Content-Type": FORM_TYPE})
    assert response.json() == form_description(part)
    assert http2.post("/stream", part.content).json() == data_description(part.content)
    stream = http2.begin("POST", "/plain?method=readline")
    http2.send(stream, part.content, end=True)
    assert http2.response(stream).json() == data_description(part.content)


@pytest.mark.parametrize("frame", [1, 100, 4096, 16_384])
def test_http2_frames_of_any_size(http2: Http2Connection, frame: int) -> None:
    """The size of the DATA frames leaves no trace in the body."""
    data = content(min(300 * frame, 400_000))
    for path in ("/data", "/stream?read=1000", "/plain?method=iterate"):
        assert http2.post(path, data, frame=frame).json() == data_description(data)


def test_http2_several_streams(http2: Http2Connection) -> None:
    """Interleaved uploads on one connection each arrive whole.

    gunicorn serves one stream after another, so all others have to fit into the 64 KiB window.
    """
    bodies = {http2.begin("POST", "/data"): content(15_000, seed) for seed in range(4)}
    for start in range(0, 15_000, 1000):
        for stream, data in bodies.items():
            http2.send(stream, data[start : start + 1000])
    for stream in bodies:
        http2.send(stream, b"", end=True)
    for stream, data in bodies.items():
        assert http2.response(stream).json() == data_description(data)


def test_http2_request_behind_a_body_that_nobody_read(http2: Http2Connection) -> None:
    """The connection goes on with the next stream."""
    assert http2.post("/unread", content(30_000)).status == 200
    assert http2.post("/some?bytes=100", content(30_000)).status == 200
    assert http2.response(http2.begin("GET", "/ping", end=True)).body == b"pong"


@pytest.mark.parametrize("path", ["/form", "/data", "/stream", "/limited/form", "/plain"])
@pytest.mark.parametrize("cut", [0, 5000, 600_000])
@pytest.mark.parametrize("ending", ["cancel", "close", "reset"])
def test_http2_upload_that_ends_early_is_no_success(
    server: LiveServer, path: str, cut: int, ending: str
) -> None:
    """A stream that is cancelled, or whose connection ends, gets no 200 and no traceback."""
    body = form(Part("file", content(700_000), "f.bin"))
    with server.connect(protocols=("h2",)) as connection:
        http2 = Http2Connection(connection)
        headers = {"Content-Length": str(len(body)), "Content-Type": FORM_TYPE}
        stream = http2.begin("POST", path, headers)
        http2.send(stream, body[:cut])
        if ending == "cancel":
            http2.cancel(stream)
            other = http2.begin("GET", "/ping", end=True)
            assert http2.response(other).body == b"pong"
        elif ending == "close":
            connection.die()
            response = http2.response_or_none(stream)
            assert response is None or response.status == 400
        else:
            connection.reset()


def test_http2_connection_that_is_shut_down_at_once(server: LiveServer) -> None:
    """A client that vanishes in the middle of an upload ends its request."""
    for _ in range(5):
        with server.connect(protocols=("h2",)) as connection:
            http2 = Http2Connection(connection)
            http2.send(http2.begin("POST", "/form", {"Content-Type": FORM_TYPE}), content(90_000))
            connection.vanish()


def test_pings_are_no_body(newest: Gunicorn, certificate: Certificate) -> None:
    """They keep a connection alive, and no upload: with a minimum rate it is a 408."""
    environment = {
        "COOPERATIVE_UPLOAD_MIN_RATE_BYTES": "200000",
        "COOPERATIVE_UPLOAD_MIN_RATE_WINDOW_SECONDS": "0.5",
    }
    options = ("--http-protocols", "h2")
    with (
        LiveServer(newest, *options, certificate=certificate, environment=environment) as server,
        server.connect(protocols=("h2",)) as connection,
    ):
        http2 = Http2Connection(connection)
        stream = http2.begin("POST", "/data", {"Content-Length": "1000000"})
        http2.send(stream, b"some of it")
        give_up = time.monotonic() + 20
        while not http2.has_ended(stream):
            assert time.monotonic() < give_up, "it goes on"
            http2.ping()
            time.sleep(0.05)
        assert http2.response(stream).status == 408
