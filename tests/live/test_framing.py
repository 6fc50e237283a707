"""Where a body ends and the next request begins, in each framing of HTTP/1."""

from __future__ import annotations

import itertools

import pytest
from http_client import (
    FORM_TYPE,
    Part,
    chunked,
    content,
    data_description,
    form,
    form_description,
    pieces_of,
    request,
    split_at,
)
from live_server import LiveServer

CHUNKED = {"Transfer-Encoding": "chunked"}
BLOCK = 64 * 1024


@pytest.mark.parametrize(
    ("size", "chunk_size"),
    [
        (0, 1),
        (1, 1),
        (3000, 1),
        (100_000, 7),
        (BLOCK, BLOCK),
        (2_000_000, 65_535),
        (5 << 20, 1 << 20),
        (5_000_000, 5_000_000),
    ],
)
@pytest.mark.parametrize("path", ["/data", "/stream?read=1000", "/plain?method=readline"])
def test_chunks_of_any_size(server: LiveServer, path: str, size: int, chunk_size: int) -> None:
    """Nothing of the chunked coding is left in the body, and the connection goes on."""
    data = content(size)
    with server.connect() as connection:
        body = chunked(pieces_of(data, chunk_size))
        assert connection.post(path, body, CHUNKED).json() == data_description(data)
        connection.ping()


def test_chunked_form(any_server: LiveServer) -> None:
    """A multipart form whose length nobody announced."""
    parts = [Part("field", b"text"), Part("file", content(1_500_000), "f.bin")]
    body = chunked(pieces_of(form(*parts), 10_007))
    with any_server.connect() as connection:
        response = connection.post("/form", body, {**CHUNKED, "Content-Type": FORM_TYPE})
        assert response.json() == form_description(*parts)
        connection.ping()


@pytest.mark.parametrize("extension", [b";name=value", b';name="quoted"', b";flag"])
@pytest.mark.parametrize("trailers", [b"", b"Digest: abc\r\n", b"A: 1\r\nB: 2\r\n"])
def test_chunk_extensions_and_trailers(
    server: LiveServer, extension: bytes, trailers: bytes
) -> None:
    """Neither is part of the body nor of the next request (RFC 9112 section 7.1)."""
    data = content(200_000)
    body = chunked(pieces_of(data, 50_000), extension, trailers)
    with server.connect() as connection:
        assert connection.post("/data", body, CHUNKED).json() == data_description(data)
        connection.ping()


def test_chunks_that_arrive_in_any_pieces(server: LiveServer) -> None:
    """Sizes, line ends and data of chunks may be split anywhere."""
    data = content(40)
    wire = request("POST", "/data", chunked(pieces_of(data, 17), b";e", b"T: 1\r\n"), CHUNKED)
    begin = wire.index(b"\r\n\r\n") + 4
    with server.connect() as connection:
        for offset in range(begin, len(wire)):
            connection.send_in_pieces(split_at(wire, [offset]))
            assert connection.response().json() == data_description(data), offset


def bodies(data: bytes) -> list[tuple[dict[str, str], bytes]]:
    """One body in both framings."""
    return [({}, data), (CHUNKED, chunked(pieces_of(data, 1000)))]


@pytest.mark.parametrize("size", [1, 5000, BLOCK - 1, BLOCK, BLOCK + 1, 300_000])
def test_pipelined_requests_in_one_segment(any_server: LiveServer, size: int) -> None:
    """Requests that follow each other without a pause are all answered, in order."""
    several = [content(size, seed) for seed in range(3)]
    wire = b"".join(
        request("POST", "/data", body, headers) + request("GET", "/ping")
        for data in several
        for headers, body in bodies(data)
    )
    with any_server.connect() as connection:
        connection.send(wire)
        for data in several:
            for _ in bodies(data):
                assert connection.response().json() == data_description(data)
                assert connection.response().body == b"pong"


def test_pipelined_requests_split_anywhere(server: LiveServer) -> None:
    """The next request's bytes are neither taken nor lost, wherever the segments end."""
    data = content(30)
    for headers, body in bodies(data):
        first = request("POST", "/data", body, headers)
        second = request("POST", "/data", b"next")
        wire = first + second
        start = len(first) - len(body)
        with server.connect() as connection:
            for offset in range(start - 3, len(first) + 10):
                connection.send_in_pieces(split_at(wire, [offset]))
                assert connection.response().json() == data_description(data), offset
                assert connection.response().json() == data_description(b"next"), offset


@pytest.mark.parametrize("size", [1, 4000, BLOCK + 1, 200_000])
@pytest.mark.parametrize("path", ["/unread", "/some?bytes=1", "/some?bytes=3999"])
def test_request_behind_a_body_that_nobody_read(
    any_server: LiveServer, path: str, size: int
) -> None:
    """What the application left of a body is not taken for the next request."""
    data = content(size).replace(b"\r\n--", b"GET ", 1)
    with any_server.connect() as connection:
        connection.send(request("POST", path, data) + request("GET", "/ping"))
        assert connection.response().status == 200
        assert connection.response().body == b"pong"
        assert connection.post("/data", b"more").json() == data_description(b"more")


def test_a_hundred_requests_on_one_connection(any_server: LiveServer) -> None:
    """Keep-alive with bodies of both framings, read and unread, and without."""
    sizes = itertools.cycle([0, 1, 1000, BLOCK, BLOCK + 1, 200_000])
    with any_server.connect() as connection:
        for number, size in zip(range(50), sizes, strict=False):
            data = content(size, seed=number)
            for headers, body in bodies(data):
                response = connection.post("/data", body, headers)
                assert response.json() == data_description(data), number
        connection.ping()


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_http_1_0(server: LiveServer, size: int) -> None:
    """A body with its length; the connection is closed behind the response."""
    data = content(size)
    with server.connect() as connection:
        connection.send_request("POST", "/data", data, version="1.0")
        assert connection.response().json() == data_description(data)
        assert connection.is_closed()


def test_http_1_0_with_keep_alive(server: LiveServer) -> None:
    """The connection is kept where the client asks for it."""
    headers = {"Connection": "keep-alive"}
    with server.connect() as connection:
        for size in (0, 70_000, 1):
            data = content(size)
            connection.send_request("POST", "/data", data, headers, version="1.0")
            assert connection.response().json() == data_description(data)


def test_requests_without_a_body(server: LiveServer) -> None:
    """No framing at all, or a length of 0, is an empty body, and reads of it return at once."""
    with server.connect() as connection:
        for method in ("GET", "POST", "PUT"):
            for body in (None, b""):
                connection.send_request(method, "/data", body)
                assert connection.response().json() == data_description(b"")
                connection.send_request(method, "/plain?method=read-all", body)
                assert connection.response().json() == data_description(b"")


def test_get_with_a_body(server: LiveServer) -> None:
    """Its body is a body, and unread it is not the next request."""
    data = content(100_000)
    with server.connect() as connection:
        for headers, body in bodies(data):
            connection.send_request("GET", "/data", body, headers)
            assert connection.response().json() == data_description(data)
            connection.send_request("GET", "/ping", body, headers)
            assert connection.response().body == b"pong"


def test_head_and_405_with_a_body(server: LiveServer) -> None:
    """A response that the framework gives by itself leaves the connection in order too."""
    data = content(50_000)
    with server.connect() as connection:
        connection.send_request("HEAD", "/ping", data)
        assert connection.response(bodiless=True).status == 200
        connection.send_request("DELETE", "/data", data)
        assert connection.response().status == 405
        connection.ping()


def test_expect_100_continue(server: LiveServer) -> None:
    """The client is told to go on before it has sent any of the body."""
    data = content(600_000)
    with server.connect() as connection:
        wire = request("POST", "/data", data, {"Expect": "100-continue"})
        end_of_head = wire.index(b"\r\n\r\n") + 4
        connection.send(wire[:end_of_head])
        assert connection.response().status == 100
        connection.send(wire[end_of_head:])
        assert connection.response().json() == data_description(data)
        connection.ping()


def test_connection_close_is_kept(server: LiveServer) -> None:
    """A client that asks for it gets its connection closed, behind a body too."""
    data = content(100_000)
    for headers, body in bodies(data):
        with server.connect() as connection:
            response = connection.post("/data", body, {**headers, "Connection": "close"})
            assert response.json() == data_description(data)
            assert response.headers["connection"] == "close"
            assert connection.is_closed()
