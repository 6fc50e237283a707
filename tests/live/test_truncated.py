"""A body is complete or an error: what a server answers to one that broke off or is malformed."""

from __future__ import annotations

import itertools

import pytest
from http_client import (
    FORM_TYPE,
    Connection,
    Part,
    chunk,
    chunked,
    content,
    form,
    head,
)
from live_server import STOCK, Gunicorn, LiveServer

CHUNKED = {"Transfer-Encoding": "chunked"}

UPLOAD = form(Part("note", b"text"), Part("file", content(700_000), "f.bin"))
RAW = content(700_000)

FORM_PATHS = ["/form", "/files", "/fields", "/limited/form", "/limited/files", "/limited/fields"]
RAW_PATHS = [
    "/data",
    "/stream",
    "/limited/data",
    "/limited/stream",
    "/plain",
    "/plain?method=read-all",
    "/plain?method=readline",
    "/plain?method=readlines",
    "/plain?method=iterate",
]
# Within the head of a part, in memory, past it, on disk, and before the very last byte.
CUTS = [0, 1, 60, 5000, 65_536, 300_000, 600_000, len(UPLOAD) - 1]


def send_in_part(
    connection: Connection, path: str, body: bytes, cut: int, content_type: str = FORM_TYPE
) -> None:
    """Announce all of a body and send the part of it before `cut`."""
    headers = {"Content-Length": str(len(body)), "Content-Type": content_type}
    connection.send(head("POST", path, headers) + body[:cut])


def check_refused_as_incomplete(
    connection: Connection, received: int, expected: int | None
) -> None:
    """A 400 with a sentence that has the numbers, and then the end of the connection."""
    response = connection.response()
    text = response.body.decode()
    assert response.status == 400, text
    announced = "" if expected is None else f" of {expected:,}"
    assert f"received {received:,}{announced} bytes" in text
    assert response.headers["connection"] == "close"
    assert connection.is_closed()


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("path", FORM_PATHS)
def test_form_that_ends_early_is_a_400(server: LiveServer, path: str, cut: int) -> None:
    """Never a form that has less than the client wanted to send."""
    with server.connect() as connection:
        send_in_part(connection, path, UPLOAD, cut)
        connection.end_sending()
        check_refused_as_incomplete(connection, cut, len(UPLOAD))


@pytest.mark.parametrize(
    ("path", "cut"),
    [
        *itertools.product(RAW_PATHS, [0, 1, 5000, 65_536, 300_000, len(RAW) - 1]),
        *itertools.product(["/stream?read=1"], [0, 1, 5000]),
    ],
)
def test_raw_body_that_ends_early_is_a_400(server: LiveServer, path: str, cut: int) -> None:
    """In Flask, and in plain WSGI code that lets the error through, by every method."""
    with server.connect() as connection:
        send_in_part(connection, path, RAW, cut, "application/octet-stream")
        connection.end_sending()
        check_refused_as_incomplete(connection, cut, len(RAW))


@pytest.mark.parametrize("size", [2, 1000, 65_536])
@pytest.mark.parametrize("path", ["/data", "/plain", "/limited/stream"])
def test_small_body_that_ends_early_is_a_400(server: LiveServer, path: str, size: int) -> None:
    """Bodies that take no turns are held to the same rule."""
    with server.connect() as connection:
        send_in_part(connection, path, content(size), size - 1, "application/octet-stream")
        connection.end_sending()
        check_refused_as_incomplete(connection, size - 1, size)


@pytest.mark.parametrize("path", ["/data", "/stream", "/limited/data", "/plain"])
@pytest.mark.parametrize(
    "sent",
    [
        *(b"", b"5\r\nab", b"5\r\nabcde", b"5\r\nabcde\r", b"5\r\nabcde\r\n"),
        b"5\r\nabcde\r\n3",
    ],
)
def test_chunked_body_that_ends_early_is_a_400(server: LiveServer, path: str, sent: bytes) -> None:
    """Only the last chunk ends a chunked body."""
    received = {b"": 0, b"5\r\nab": 2}.get(sent, 5)
    with server.connect() as connection:
        connection.send(head("POST", path, CHUNKED) + sent)
        connection.end_sending()
        check_refused_as_incomplete(connection, received, None)


@pytest.mark.parametrize("path", FORM_PATHS)
def test_chunked_form_that_ends_early_is_a_400(server: LiveServer, path: str) -> None:
    """Also where all of the form has arrived and only the last chunk is missing."""
    for cut in (0, 5000, 600_000, len(UPLOAD)):
        with server.connect() as connection:
            connection.send(head("POST", path, {**CHUNKED, "Content-Type": FORM_TYPE}))
            connection.send(chunk(UPLOAD[:cut]) if cut else b"")
            connection.end_sending()
            # A form's parser may be content with the closing boundary and read no further. Such
            # a form is complete; the broken framing behind it still ends the connection.
            response = connection.response()
            assert response.status == (400 if cut < len(UPLOAD) else response.status), cut
            assert connection.is_closed()


@pytest.mark.parametrize("path", ["/data", "/stream", "/limited/data", "/plain"])
@pytest.mark.parametrize(
    "wire",
    [
        b"x\r\nabc\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcde\r\n0\r\n\r\n",
        b"\r\nabc\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
    ],
)
def test_malformed_chunks_are_a_400(server: LiveServer, path: str, wire: bytes) -> None:
    """With a sentence, and without a traceback; what follows is not taken for a request."""
    with server.connect() as connection:
        connection.send(head("POST", path, CHUNKED) + wire)
        response = connection.response()
        assert response.status == 400
        assert "malformed" in response.body.decode()
        assert connection.is_closed()


def test_malformed_chunk_after_good_ones(server: LiveServer) -> None:
    """The sentence says how far it went."""
    good = chunked([b"a" * 70_000])[:-5]
    with server.connect() as connection:
        connection.send(head("POST", "/data", CHUNKED) + good + b"oops\r\n")
        response = connection.response()
        assert response.status == 400
        assert "malformed after 70,000 bytes" in response.body.decode()
        assert connection.is_closed()


def test_malformed_chunked_form_is_a_400(server: LiveServer) -> None:
    """werkzeug's form parser does not swallow it."""
    for path in FORM_PATHS:
        with server.connect() as connection:
            headers = {**CHUNKED, "Content-Type": FORM_TYPE}
            connection.send(head("POST", path, headers) + chunk(UPLOAD[:200_000]) + b"oops\r\n")
            assert connection.response().status == 400, path
            assert connection.is_closed()


@pytest.mark.parametrize("path", ["/form", "/data", "/limited/form", "/plain"])
@pytest.mark.parametrize("framing", ["Content-Length", "chunked"])
def test_reset_ends_quietly(server: LiveServer, path: str, framing: str) -> None:
    """A client that resets the connection leaves no traceback, descriptor or file behind."""
    for cut in (0, 5000, 600_000):
        with server.connect() as connection:
            if framing == "chunked":
                headers = {**CHUNKED, "Content-Type": FORM_TYPE}
                connection.send(head("POST", path, headers) + chunk(UPLOAD)[:cut])
            else:
                send_in_part(connection, path, UPLOAD, cut)
            connection.reset()
    with server.connect() as connection:
        connection.ping()


@pytest.mark.parametrize("path", ["/form", "/data", "/plain"])
def test_close_without_reading_ends_quietly(server: LiveServer, path: str) -> None:
    """The same for one that closes at once, so that the response finds no reader."""
    for cut in (1, 5000, 600_000):
        with server.connect() as connection:
            send_in_part(connection, path, UPLOAD, cut)
    with server.connect() as connection:
        connection.ping()


@pytest.mark.parametrize("framing", ["Content-Length", "chunked"])
def test_error_behind_the_start_of_a_response(server: LiveServer, framing: str) -> None:
    """The response is cut off, so that the client can't take it for a whole one."""
    with server.connect() as connection:
        if framing == "chunked":
            connection.send(head("POST", "/plain/begun", CHUNKED) + chunk(b"abc"))
        else:
            send_in_part(connection, "/plain/begun", RAW, 5000)
        connection.end_sending()
        with pytest.raises((EOFError, ConnectionError)):
            connection.response()


@pytest.mark.parametrize("path", ["/unread", "/some?bytes=100"])
def test_body_cut_off_behind_what_the_application_read(server: LiveServer, path: str) -> None:
    """Its answer stands, and the connection is closed rather than read on."""
    with server.connect() as connection:
        send_in_part(connection, path, RAW, 50_000, "application/octet-stream")
        connection.end_sending()
        assert connection.response().status == 200
        assert connection.is_closed()


def test_stock_worker_takes_the_part_for_the_whole(newest: Gunicorn) -> None:
    """The reason for these tests: there a truncated form is a success with an empty form.

    If this fails, gunicorn or werkzeug has mended it, and the documentation can say so.
    """
    with (
        LiveServer(newest, worker=STOCK) as server,
        server.connect() as connection,
    ):
        send_in_part(connection, "/form", UPLOAD, 600_000)
        connection.end_sending()
        assert connection.response().json() == {"fields": [], "files": []}
