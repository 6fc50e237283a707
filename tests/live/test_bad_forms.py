"""Forms that are cut up, too many, too long or none, beside clients that want to be answered.

What such a form gives is what it gives on the stock worker, where that is right: the form, if it
is one, and werkzeug's own answer if it is not.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from http_client import (
    BOUNDARY,
    END_OF_FORM,
    FORM_TYPE,
    Connection,
    Part,
    Response,
    chunked,
    content,
    form,
    form_description,
    head,
    pieces_of,
    request,
    split_at,
)
from live_server import COOPERATIVE, STOCK, Gunicorn, LiveServer, peak_memory, wait_until

FORM_HEADERS = {"Content-Type": FORM_TYPE}
CHUNKED_FORM = {**FORM_HEADERS, "Transfer-Encoding": "chunked"}
BLOCK = 64 * 1024
MIB = 1 << 20

SMALL = [Part("note", b"text"), Part("file", content(100), "a.bin"), Part("last", b"\r\n--")]


def answers(server: LiveServer, wire: bytes, count: int) -> list[tuple[int, bytes]]:
    """The first answers on one connection, fewer if it is closed."""
    with server.connect() as connection:
        connection.send(wire)
        found = [connection.response_or_none() for _ in range(count)]
    return [(response.status, response.body) for response in found if response]


def answer(connection: Connection, wire: bytes) -> Any:
    connection.send(wire)
    return connection.response().json()


# Where the form ends.


@pytest.mark.parametrize("missing", [1, 2, 3, 4, 20, len(END_OF_FORM), len(END_OF_FORM) + 2, 150])
def test_form_that_is_longer_than_announced(
    server: LiveServer, stock: LiveServer, missing: int
) -> None:
    """What is too much is the next request, or none, and never a part of the form."""
    body = form(*SMALL)
    headers = {**FORM_HEADERS, "Content-Length": str(len(body) - missing)}
    wire = head("POST", "/form", headers) + body + request("GET", "/ping")
    assert answers(server, wire, 2) == answers(stock, wire, 2)


def test_forms_in_a_row(any_server: LiveServer) -> None:
    """Each ends where it ends, though the next one has come with it."""
    forms = [
        [Part("number", b"%d" % n), Part("file", content(n * 7000, n), "f")] for n in range(9)
    ]
    wire = b"".join(request("POST", "/form", form(*parts), FORM_HEADERS) for parts in forms)
    with any_server.connect() as connection:
        connection.send(wire)
        for parts in forms:
            assert connection.response().json() == form_description(*parts)
        connection.ping()


# What is said of a part's length.


@pytest.mark.parametrize("length", ["0", "1", "999", "1000001", "999999999999999", "-5", "many"])
@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_part_that_lies_about_its_length(server: LiveServer, length: str, size: int) -> None:
    """A Content-Length within a part means nothing (RFC 7578 section 4.8)."""
    file = Part("file", content(size), "a.bin")
    lie = f"\r\nContent-Length: {length}\r\n\r\n".encode()
    body = b"".join(part.encoded().replace(b"\r\n\r\n", lie, 1) for part in (SMALL[0], file))
    with server.connect() as connection:
        response = connection.post("/form", body + END_OF_FORM, FORM_HEADERS)
        assert response.json() == form_description(SMALL[0], file)
        connection.ping()


# How the form is cut.


@pytest.mark.parametrize(
    ("size", "chunk_size"), [(6000, 1), (100_000, 13), (5 * MIB, MIB), (5 * MIB, 5 * MIB)]
)
@pytest.mark.parametrize(
    ("extension", "trailers"), [(b"", b""), (b';a="b"; c', b"Digest: x\r\nMore: y\r\n")]
)
def test_form_in_chunks_of_any_size(
    any_server: LiveServer, size: int, chunk_size: int, extension: bytes, trailers: bytes
) -> None:
    """Chunks have nothing to do with parts, and what is said beside them is not data."""
    parts = [*SMALL, Part("large", content(size), "l.bin")]
    body = chunked(pieces_of(form(*parts), chunk_size), extension, trailers)
    with any_server.connect() as connection:
        assert connection.post("/form", body, CHUNKED_FORM).json() == form_description(*parts)
        connection.ping()


@pytest.mark.parametrize("framing", ["Content-Length", "chunked"])
def test_form_cut_at_every_offset(server: LiveServer, framing: str) -> None:
    """Two packets, with the cut anywhere: in a boundary, a header, a line end."""
    body, headers = form(*SMALL), FORM_HEADERS
    if framing == "chunked":
        body, headers = chunked(pieces_of(body, 50)), CHUNKED_FORM
    wire = request("POST", "/form", body, headers)
    with server.connect() as connection:
        for offset in range(wire.index(b"\r\n\r\n"), len(wire)):
            connection.send_in_pieces(split_at(wire, [offset]))
            assert connection.response().json() == form_description(*SMALL), offset


def test_boundary_across_two_blocks_at_every_offset(
    any_server: LiveServer, stock: LiveServer
) -> None:
    """werkzeug parses in blocks, and each of them may end anywhere in a boundary or a header."""
    start = Part("file", b"", "a.bin").encoded().index(b"\r\n\r\n") + 4
    rest = form(Part("note", b"text"))
    with any_server.connect() as connection, stock.connect() as stock_connection:
        for back in range(len(rest) + 8):
            parts = [Part("file", content(BLOCK - start - back), "a.bin"), Part("note", b"text")]
            wire = request("POST", "/form", form(*parts), FORM_HEADERS)
            found = answer(connection, wire)
            # werkzeug itself is wrong by one line end in a few places, which differ by version.
            assert found in (form_description(*parts), answer(stock_connection, wire)), back


# Boundaries that are none.


@pytest.mark.parametrize(
    ("content_type", "is_read"),
    [
        ("multipart/form-data", False),
        ("multipart/form-data; boundary", False),
        ("multipart/form-data; boundary=", False),
        ('multipart/form-data; boundary=""', False),
        ("multipart/form-data; boundary=another", True),
        ("multipart/form-data; boundary=\xe9", False),
        (f"multipart/form-data; charset=x; BOUNDARY={BOUNDARY}", True),
        (f"multipart/mixed; boundary={BOUNDARY}", False),
    ],
)
@pytest.mark.parametrize("size", [10, 900_000])
def test_boundary_that_is_missing_or_wrong(
    server: LiveServer, stock: LiveServer, content_type: str, is_read: bool, size: int
) -> None:
    """The form is empty, as werkzeug has it, and nothing of it is taken for a request.

    Where werkzeug does not read a large one the connection ends.
    """
    body = form(Part("note", b"text"), Part("file", content(size), "a.bin"))
    headers = {"Content-Type": content_type, "Content-Length": str(len(body))}
    start = head("POST", "/form", headers).replace("\xe9".encode(), b"\xe9")
    wire = start + body + request("GET", "/ping")
    of_stock = answers(stock, wire, 2)
    assert of_stock[1] == (200, b"pong")
    assert answers(server, wire, 2) == (of_stock if is_read or size == 10 else of_stock[:1])


@pytest.mark.parametrize("boundary", ["b", "b" * 200, "long-boundary." * 300, "'()+_,-./:=?"])
def test_boundary_of_any_length(any_server: LiveServer, boundary: str) -> None:
    """Also of more than the 70 characters that RFC 2046 allows."""
    parts = [Part("note", b"text"), Part("file", content(700_000), "a.bin")]
    body = b"".join(part.encoded(boundary) for part in parts) + f"--{boundary}--\r\n".encode()
    headers = {"Content-Type": f'multipart/form-data; boundary="{boundary}"'}
    with any_server.connect() as connection:
        assert connection.post("/form", body, headers).json() == form_description(*parts)


# Too many, and too long.


def field(number: int) -> bytes:
    return Part(f"f{number}", b"x").encoded()


MANY_PARTS = b"".join(map(field, range(100_000))) + END_OF_FORM


def test_a_hundred_thousand_parts_are_too_many(any_server: LiveServer) -> None:
    """A 413 after the thousandth, as the framework has it, and what follows is not parsed."""
    with any_server.connect() as connection:
        assert connection.post("/fields", MANY_PARTS, FORM_HEADERS).status == 413


def post_beside_pings(server: LiveServer, path: str, body: bytes) -> Response:
    """The answer to a form, before which small requests that come in its middle are answered."""
    wire = request("POST", path, body, FORM_HEADERS)
    with (
        server.connect() as connection,
        server.connect() as other,
        ThreadPoolExecutor(1) as background,
    ):
        connection.send(wire[: len(wire) // 2])
        sent = background.submit(connection.send, wire[len(wire) // 2 :])
        for _ in range(10):
            other.ping()
        assert not connection.has_answer(), "the form was answered first"
        sent.result()
        return connection.response()


def test_others_are_answered_beside_a_hundred_thousand_parts(server: LiveServer) -> None:
    """Where the application wants them all."""
    response = post_beside_pings(server, "/parts", MANY_PARTS)
    assert response.json() == {"fields": 100_000, "files": 0}


OPENING = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="'.encode()
ENDLESS = {
    "preamble": content(50_000_000),
    "header": OPENING + b"n" * 50_000_000,
    "headers": OPENING + b'f"\r\n' + b"X: yz\r\n" * 3_000_000,
}


def test_form_that_never_begins(server: LiveServer) -> None:
    """werkzeug looks for its beginning to the end; others are answered meanwhile."""
    response = post_beside_pings(server, "/form", ENDLESS["preamble"])
    assert response.json() == {"fields": [], "files": []}


# Of which werkzeug 3.1.7 makes three seconds, in which nobody else runs.
LONG_HEADER = OPENING + b'f"' + b'; a="b"' * 60_000 + b"\r\n\r\n" + END_OF_FORM


@pytest.mark.parametrize("body", [ENDLESS["header"], ENDLESS["headers"], LONG_HEADER])
def test_long_headers_of_a_part(server: LiveServer, body: bytes) -> None:
    """They are not parsed, and the client is told why."""
    line = "Upload too large: POST /form"
    told = server.log().count(line)
    with server.connect() as connection:
        response = connection.post("/form", body, FORM_HEADERS)
    assert response.status == 413
    assert b"accepted are at most 8,192 bytes" in response.body
    wait_until(lambda: server.log().count(line) == told + 1, "a line in the log")


@pytest.mark.parametrize("kind", ENDLESS)
def test_form_that_never_begins_in_little_memory(server: LiveServer, kind: str) -> None:
    """With the framework's usual limit it is refused, and the rest is not kept."""
    with server.connect() as connection:
        response = connection.post("/little-memory", ENDLESS[kind], FORM_HEADERS)
        assert response.status == 413


def test_memory_of_forms_that_never_begin(gunicorn: Gunicorn) -> None:
    """No more than on the stock worker: what werkzeug keeps of it, which its limit bounds."""
    grown: dict[tuple[str, str], int] = {}
    for worker in (COOPERATIVE, STOCK):
        with LiveServer(gunicorn, worker=worker) as server:
            (pid,) = server.workers()
            with server.connect() as connection:
                connection.post_form("/form", Part("file", content(5_000_000), "a.bin"))
            for path in ("/little-memory", "/form"):
                before = peak_memory(pid)
                with server.connect() as connection:
                    connection.post(path, ENDLESS["header"], FORM_HEADERS)
                grown[worker, path] = peak_memory(pid) - before
    for path in ("/little-memory", "/form"):
        assert grown[COOPERATIVE, path] <= grown[STOCK, path] + 8 * MIB
    assert grown[COOPERATIVE, "/little-memory"] <= 8 * MIB
    assert grown[COOPERATIVE, "/form"] <= 2 * len(ENDLESS["header"])
