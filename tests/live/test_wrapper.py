"""The wrapper around an application on every server that the documentation names.

Where a hub runs the requests (gunicorn's gevent and gevent_pywsgi workers, gevent's own
WSGIServer) it does the reading; under our own worker and where there is no hub it lets them
through. What is said of bodies that break off differs, and each difference is a test here.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
from http_client import (
    FORM_TYPE,
    Connection,
    Part,
    Response,
    chunk,
    chunked,
    content,
    data_description,
    form_description,
    head,
    pieces_of,
    request,
)
from live_server import STOCK, Gunicorn, LiveServer, wait_until
from other_servers import (
    COOPERATIVELY_READ,
    GUNICORNS,
    PASSING_ON,
    PYWSGI,
    PYWSGIS,
    SERVERS,
    WAITRESS,
    WRAPPED_ON,
    live,
    serving_process,
)
from wrapped_application import results_of
from wrapped_bodies import CHUNKED, CHUNKED_FORM, DATA, FORM, LARGE, PARTS

# A body of a megabyte and more, of which so much arrives.
ARRIVED = 600_000


class Served(NamedTuple):
    """A server of this module, and which it is."""

    name: str
    server: LiveServer

    def check_no_upload_left(self) -> None:
        """Nothing of any request is open."""
        process = serving_process(self.server)
        wait_until(lambda: not self.server.spooled_descriptors(process), "spools are freed")
        assert self.server.spooled_names() == []


class Kind(NamedTuple):
    """A server, and the versions of which it is."""

    versions: str
    name: str

    def __str__(self) -> str:
        return f"{self.versions}-{self.name}"


# The oldest versions are for what they do to a body: where no hub is, nothing is done.
KINDS = [
    *(Kind("newest", name) for name in SERVERS),
    *(Kind("oldest", name) for name in WRAPPED_ON),
]


def on(names: Sequence[str]) -> pytest.MarkDecorator:
    """The test is about these servers alone."""
    kinds = [kind for kind in KINDS if kind.name in names]
    return pytest.mark.parametrize("shared", kinds, indirect=True, ids=str)


@pytest.fixture(scope="module", params=KINDS, ids=str)
def shared(request: pytest.FixtureRequest) -> Iterator[Served]:
    """One server of each kind, with the middleware."""
    kind: Kind = request.param
    installation = request.getfixturevalue(kind.versions)
    with live(installation, kind.name, "wrapped_application:wrapped()") as server:
        yield Served(kind.name, server)


@pytest.fixture
def served(shared: Served) -> Iterator[Served]:
    """As `shared`, and each test leaves nothing open on it."""
    yield shared
    shared.check_no_upload_left()


def test_what_is_wrapped(served: Served) -> None:
    """Once where there is a hub, by the worker alone under our worker, and else not at all."""
    with served.server.connect() as connection:
        found = connection.post_form("/request", LARGE).json()
    assert found["replaced"] == (served.name in WRAPPED_ON)
    assert (found["input"] == "CooperativeInput") == (served.name not in PASSING_ON)
    assert found["spools"] == ["Spool"]


def test_forms(served: Served) -> None:
    """Fields and files arrive as they were sent; the connection goes on where it can."""
    for body, headers in (
        (FORM, {"Content-Type": FORM_TYPE}),
        (chunked(pieces_of(FORM, 50_000)), CHUNKED_FORM),
    ):
        with served.server.connect() as connection:
            assert connection.post("/form", body, headers).json() == form_description(*PARTS)
            if served.name == "sync":
                assert connection.is_closed()
            else:
                connection.ping()


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, len(DATA)])
@pytest.mark.parametrize("path", ["/data", "/stream", "/plain", "/plain?method=iterate"])
def test_raw_bodies(served: Served, path: str, size: int) -> None:
    """With a length and in chunks, small ones that are left alone and large ones."""
    data = DATA[:size]
    chunks = chunked(pieces_of(data, 30_000))
    for body, headers in ((data, {}), (chunks, CHUNKED)):
        with served.server.connect() as connection:
            assert connection.post(path, body, headers).json() == data_description(data)


def test_saved_files(served: Served, tmp_path: Path) -> None:
    """file.save() gives the file its content and its mode."""
    target = tmp_path / "saved"
    with served.server.connect() as connection:
        assert connection.post_form(f"/save?to={target}", LARGE).body == b"saved"
    assert target.read_bytes() == LARGE.content
    assert target.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("size", [0, 100_000, 3_000_000], ids=["empty", "memory", "disk"])
def test_an_upload_that_is_sent_back(served: Served, size: int) -> None:
    """It stays open until the server has sent it, by sendfile() or as it likes."""
    part = Part("file", content(size), "file.bin")
    with served.server.connect() as connection:
        response = connection.post_form("/send-back", part)
    assert (response.status, response.body) == (200, part.content)


def test_streamed_bodies(served: Served, tmp_path: Path) -> None:
    """receive() and stream_parts() store what was sent, on every server."""
    target = tmp_path / "received"
    for body, headers in ((DATA, {}), (chunked(pieces_of(DATA, 70_000)), CHUNKED)):
        with served.server.connect() as connection:
            connection.send_request("PUT", f"/receive?to={target}", body, headers)
            assert connection.response().json() == data_description(DATA)
            assert target.read_bytes() == DATA
            target.unlink()
    with served.server.connect() as connection:
        found = connection.post(
            f"/stream-parts?to={tmp_path}", chunked(pieces_of(FORM, 70_000)), CHUNKED_FORM
        ).json()
    described = [(part.name, data_description(part.content)) for part in PARTS]
    assert found == [[name, data["size"], data["sha256"]] for name, data in described]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        part.name: part.content for part in PARTS
    }


# Operations on the input, compared with those on io.BytesIO.

TEXT = b"first\nsecond line\n\n" + content(70_000) + b"\r\nlast, without a line feed"
OPERATIONS: list[list[tuple[str, list[int]]]] = [
    [("read", []), ("read", []), ("readline", []), ("readlines", [])],
    [("read", [3]), ("readline", []), ("read", [15]), ("readline", [4]), ("readlines", [])],
    [("read", [0]), ("readline", []), ("readline", [3]), ("read", [65_536]), ("read", [])],
    [("read", [-1]), ("read", [5])],
    [("iterate", []), ("read", [1])],
    [("readlines", []), ("iterate", [])],
    [("read", [1])] * 20 + [("readline", [])] * 20 + [("read", [1 << 40])],
]
CUTS: dict[str, list[bytes]] = {
    "whole": [TEXT],
    "bytes at first": [*(TEXT[i : i + 1] for i in range(20)), TEXT[20:]],
    "pieces": pieces_of(TEXT, 9973),
}


@pytest.mark.parametrize("pieces", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("operations", OPERATIONS, ids=range(len(OPERATIONS)))
def test_methods_of_the_input(
    served: Served, operations: list[tuple[str, list[int]]], pieces: list[bytes]
) -> None:
    """Each call returns what io.BytesIO returns, however the bytes come."""
    path = f"/operations?calls={quote(json.dumps(operations))}"
    expected = results_of(operations, io.BytesIO(TEXT))
    for chunks in (False, True):
        headers = CHUNKED if chunks else {"Content-Length": str(len(TEXT))}
        with served.server.connect() as connection:
            connection.send(head("POST", path, headers))
            connection.send_in_pieces([chunk(piece) for piece in pieces] if chunks else pieces)
            connection.send(b"0\r\n\r\n" if chunks else b"")
            assert connection.response().json() == expected, headers


@on(COOPERATIVELY_READ)
@pytest.mark.parametrize(
    "operations", [operations for operations in OPERATIONS if operations[0] != ("read", [0])]
)
@pytest.mark.parametrize("arrived", [0, 4, 70_000])
def test_methods_of_an_input_that_breaks_off(
    served: Served, operations: list[tuple[str, list[int]]], arrived: int
) -> None:
    """What is returned is right, and the end is an error: of PEP 3333's methods not one takes
    the part for the whole."""
    until_the_end = [*operations, ("read", [])]
    path = f"/operations?calls={quote(json.dumps(until_the_end))}"
    whole = results_of(until_the_end, io.BytesIO(TEXT))
    for chunks in (False, True):
        headers = CHUNKED if chunks else {"Content-Length": str(len(TEXT))}
        sent = chunk(TEXT[:arrived]) if chunks and arrived else TEXT[:arrived]
        with served.server.connect() as connection:
            connection.send(head("POST", path, headers) + sent)
            connection.end_sending()
            *results, last = connection.response().json()
        assert last == "IncompleteBody"
        assert results == whole[: len(results)]


# Bodies that break off.


def break_off(
    connection: Connection, path: str, body: bytes, headers: dict[str, str], arrived: int
) -> Response | None:
    """Send so much of the body, then nothing more; the response, if there is one."""
    if headers.get("Transfer-Encoding") == "chunked":
        connection.send(head("POST", path, headers) + chunk(body[:arrived]))
    else:
        length = {"Content-Length": str(len(body))}
        connection.send(head("POST", path, {**headers, **length}) + body[:arrived])
    connection.end_sending()
    return connection.response_or_none()


def received_by(names: Sequence[str], served: Served) -> str:
    """How much of what came the answer knows of.

    names: the servers whose input throws away the part of the last block that came; what it
        raises instead does not say how much that was.
    """
    return f"{ARRIVED - ARRIVED % 65_536 if served.name in names else ARRIVED:,}"


@on(COOPERATIVELY_READ)
@pytest.mark.parametrize("path", ["/form", "/data", "/stream", "/plain"])
def test_a_body_that_breaks_off(served: Served, path: str) -> None:
    """A 400 that says how far it came, and not an empty form."""
    with served.server.connect() as connection:
        response = break_off(connection, path, FORM, {"Content-Type": FORM_TYPE}, ARRIVED)
        assert response is not None
        assert response.status == 400
        received = received_by(PYWSGIS, served)
        assert f"received {received} of {len(FORM):,} bytes" in response.body.decode()
        assert connection.is_closed()


@on(COOPERATIVELY_READ)
@pytest.mark.parametrize("path", ["/form", "/data", "/stream", "/plain"])
def test_chunks_that_break_off(served: Served, path: str) -> None:
    """The same without a length."""
    with served.server.connect() as connection:
        response = break_off(connection, path, FORM, CHUNKED_FORM, ARRIVED)
        assert response is not None
        assert response.status == 400
        received = received_by(WRAPPED_ON, served)
        assert f"received {received} bytes" in response.body.decode()
        assert connection.is_closed()


MALFORMED = {
    "no number": b"oops\r\n",
    "longer than it says": b"3\r\nabcde\r\n0\r\n\r\n",
    "negative": b"-3\r\nabc\r\n0\r\n\r\n",
    # What a decoder that stops at the first wrong byte leaves is a request.
    "a request": b"x" + request("GET", "/pid"),
}


@on(COOPERATIVELY_READ)
@pytest.mark.parametrize("wire", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("path", ["/data", "/stream", "/plain"])
def test_chunks_that_are_none(served: Served, path: str, wire: bytes) -> None:
    """One 400, and what is behind the fault is never taken for a request."""
    with served.server.connect() as connection:
        # In one segment: a reset for what the server has not received would take its answer along.
        body = chunk(DATA[:1000]) + wire
        connection.send(head("POST", path, CHUNKED) + body + request("GET", "/pid"))
        response = connection.response()
        assert response.status == 400
        assert "The request body is " in response.body.decode()
        with contextlib.suppress(OSError):  # gunicorn 25 keeps the connection, to no avail
            connection.end_sending()
        assert connection.is_closed()


@on(PASSING_ON)
def test_without_a_hub_it_is_up_to_the_server(served: Served) -> None:
    """gunicorn's other workers take the part for the whole; waitress never asks the application.

    If this fails, they have mended it, and the documentation can say so.
    """
    with served.server.connect() as connection:
        response = break_off(connection, "/form", FORM, {"Content-Type": FORM_TYPE}, ARRIVED)
        if served.name == WAITRESS:
            assert response is None
        else:
            assert response is not None
            assert response.json() == {"fields": [], "files": []}


def test_receive_is_whole_or_nothing(served: Served, tmp_path: Path) -> None:
    """Also where there is no hub, since receive() counts for itself."""
    target = tmp_path / "target"
    target.write_bytes(b"old")
    with served.server.connect() as connection:
        connection.send(
            head("PUT", f"/receive?to={target}", {"Content-Length": str(len(DATA))})
            + DATA[:ARRIVED]
        )
        connection.end_sending()
        response = connection.response_or_none()
    if served.name == WAITRESS:
        assert response is None
    else:
        assert response is not None
        assert response.status == 400
    served.check_no_upload_left()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_body_that_was_read_is_not_stored(served: Served, tmp_path: Path) -> None:
    """Where werkzeug has kept it its request tells that; else the input, if it is ours."""
    target = tmp_path / "target"
    for query in ("&cached=1", "") if served.name not in PASSING_ON else ("&cached=1",):
        for body, headers in ((DATA, {}), (chunked(pieces_of(DATA, 70_000)), CHUNKED)):
            target.write_bytes(b"old")
            with served.server.connect() as connection:
                path = f"/read-and-receive?to={target}{query}"
                connection.send_request("PUT", path, body, headers)
                answer = connection.response().json()
            assert answer["error"].startswith("receive() needs the whole request body, and 2,000,")
            assert target.read_bytes() == b"old"


# What is left unread, and what is pipelined.


@on([*COOPERATIVELY_READ, WAITRESS])  # the others promise nothing to who pipelines
@pytest.mark.parametrize("size", [100, 100_000])
def test_the_next_request_behind_a_body(served: Served, size: int) -> None:
    """Sent in one go: not one byte of it is taken for the body, with either framing."""
    data = DATA[:size]
    with served.server.connect() as connection:
        connection.send(
            request("POST", "/stream", data)
            + request("POST", "/data", chunked([data]), CHUNKED)
            + request("GET", "/ping")
        )
        assert connection.response().json() == data_description(data)
        assert connection.response().json() == data_description(data)
        assert connection.response().body == b"pong"


@on(WRAPPED_ON)
def test_a_body_that_is_not_read(served: Served) -> None:
    """The server skips it, as it did before."""
    with served.server.connect() as connection:
        for path, answer in (("/unread", b"unread"), ("/some?bytes=1000", b"1000")):
            assert connection.post(path, DATA).body == answer
            connection.ping()


@on(COOPERATIVELY_READ)
def test_continue(served: Served) -> None:
    """A client that waits for "100 Continue" is told to send, once."""
    headers = {"Content-Length": str(len(DATA)), "Expect": "100-continue"}
    with served.server.connect() as connection:
        connection.send(head("POST", "/data", headers))
        assert connection.response().status == 100
        connection.send(DATA)
        assert connection.response().json() == data_description(DATA)
        connection.ping()


# The Flask extension.


@pytest.mark.parametrize("name", SERVERS)
def test_the_flask_extension(newest: Gunicorn, name: str, tmp_path: Path) -> None:
    """Forms, saved files and bodies that break off, as with the middleware."""
    with live(newest, name, "wrapped_application:extended()") as server:
        with server.connect() as connection:
            found = connection.post_form("/request", LARGE).json()
        assert found["replaced"] == (name in WRAPPED_ON)
        assert found["spools"] == ["Spool"]
        for body, headers in (
            (FORM, {"Content-Type": FORM_TYPE}),
            (chunked(pieces_of(FORM, 50_000)), CHUNKED_FORM),
        ):
            with server.connect() as connection:
                response = connection.post("/form", body, headers)
                assert response.json() == form_description(*PARTS)
        with server.connect() as connection:
            connection.post_form(f"/save?to={tmp_path / 'saved'}", LARGE)
        assert (tmp_path / "saved").read_bytes() == LARGE.content
        if name in COOPERATIVELY_READ:
            with server.connect() as connection:
                response_or_none = break_off(
                    connection, "/form", FORM, {"Content-Type": FORM_TYPE}, ARRIVED
                )
                assert response_or_none is not None
                assert response_or_none.status == 400


def test_every_server_is_of_one_kind() -> None:
    """No server is left out of the tests above."""
    assert sorted(itertools.chain(GUNICORNS, PYWSGIS, [WAITRESS])) == sorted(SERVERS)
    assert {STOCK, PYWSGI} <= set(WRAPPED_ON)
