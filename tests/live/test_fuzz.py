"""Generated request bodies, sound and broken, sent to a server of ours and to the stock one.

tests/test_fuzz_bodies.py does the same without servers and says more about what went wrong. Here
all of it is real: the sockets, the application, the answers, and what a request leaves behind.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fuzzing import fuzzed
from generated_bodies import (
    Chunking,
    Cuts,
    Edit,
    Literal,
    Piece,
    SizeLine,
    cuts,
    edited,
    edits,
    flawed_chunkings,
    joined,
    pieces,
    places,
    resolved,
    size_lines,
)
from generated_forms import Form, forms
from gunicorn.http.errors import NoMoreData, ParseException
from http_client import Connection, Response, data_description, head
from hypothesis import assume
from hypothesis import strategies as st
from live_server import LiveServer
from shared_server import SharedServer
from werkzeug.formparser import FormDataParser
from worker_in_process import serve

# Cases with a server where FUZZ_EXAMPLES does not say how many.
USUAL = 60

CHUNKED = {"Transfer-Encoding": "chunked"}


@pytest.fixture
def ours(small_thresholds_server: SharedServer) -> Iterator[Ours]:
    """A server in which small bodies too take turns and go to disk.

    A request whose descriptor or file stays behind is one of a portion; the others are told by
    their case.
    """
    with small_thresholds_server.left_as_it_was() as server, server.connect() as connection:
        yield Ours(server, connection)


class Ours:
    """A server, and another client of it."""

    def __init__(self, server: LiveServer, other_client: Connection) -> None:
        self.server = server
        self._other_client = other_client
        self._log_size = server.log_path.stat().st_size

    def check_unharmed(self) -> None:
        """Others are answered, and nothing went wrong inside."""
        self._other_client.ping()
        with self.server.log_path.open() as log:
            log.seek(self._log_size)
            logged = log.read()
        self._log_size += len(logged)
        # gunicorn warns of what can't be the next request.
        assert "Traceback" not in logged, logged
        assert "[ERROR]" not in logged, logged


@dataclass(frozen=True)
class Upload:
    """A request, how its body is framed, and the packets in which it is sent."""

    content: Form | list[Piece]
    path: str
    chunks: tuple[Cuts, list[SizeLine]] | None
    packets: Cuts

    @property
    def data(self) -> bytes:
        return self.content.body if isinstance(self.content, Form) else joined(self.content)

    @property
    def head(self) -> bytes:
        length = str(len(self.data))
        headers = {"Transfer-Encoding": "chunked"} if self.chunks else {"Content-Length": length}
        if isinstance(self.content, Form):
            boundary = self.content.boundary.decode()
            headers["Content-Type"] = f'multipart/form-data; boundary="{boundary}"'
        return head("POST", self.path, headers)

    @property
    def encoded(self) -> bytes:
        """The body on the wire."""
        if self.chunks is None:
            return self.data
        sizes, lines = self.chunks
        return Chunking([Literal(self.data)], sizes, lines, b"", []).wire


framings = st.one_of(st.none(), st.tuples(cuts, st.lists(size_lines, min_size=1, max_size=3)))
RAW_PATHS = ["/data", "/stream?read=1000", "/plain?method=readline", "/plain?method=iterate"]
form_uploads = st.builds(Upload, forms(), st.just("/form"), framings, cuts)
raw_uploads = st.builds(Upload, pieces(), st.sampled_from(RAW_PATHS), framings, cuts)


def answer_to(server: LiveServer, packets: list[bytes], *, end: bool = False) -> Response | None:
    """The answer to a request; None if the connection is closed or reset instead.

    end: whether the client then says that it sends no more.
    """
    with server.connect() as connection:
        with contextlib.suppress(OSError):  # the server may close while there is more to send
            for packet in packets:
                connection.send(packet)
            if end:
                connection.end_sending()
        return connection.response_or_none()


@fuzzed(st.one_of(form_uploads, form_uploads, raw_uploads), USUAL)
def test_whole_requests(ours: Ours, stock: LiveServer, case: Upload) -> None:
    """The answer of the stock worker, also to a form that is none."""
    packets = case.packets.pieces_of(case.head + case.encoded)
    answer = answer_to(ours.server, packets)
    expected = answer_to(stock, packets)
    assert answer is not None
    assert expected is not None
    assert (answer.status, answer.body) == (expected.status, expected.body)
    ours.check_unharmed()


@dataclass(frozen=True)
class BrokenUpload:
    """A request that breaks off within its body."""

    upload: Upload
    breaks_at: int
    reset: bool

    @property
    def packets(self) -> list[bytes]:
        encoded = self.upload.encoded
        # Once the line of the last chunk is there all of the body is (RFC 9112 section 8), and
        # gunicorn 25 does not wait for the empty line behind it.
        end = len(encoded) - len(b"\n" if self.upload.chunks is None else b"\n\r\n")
        arriving = encoded[: resolved(self.breaks_at, end)]
        return self.upload.packets.pieces_of(self.upload.head + arriving)


broken_uploads = st.builds(
    BrokenUpload,
    st.one_of(form_uploads, raw_uploads),
    places,
    st.booleans(),
)


class Gone(Exception):
    """There is no more to read."""


class Endless(io.BytesIO):
    """Never comes to its end."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if len(data) != size:
            raise Gone
        return data


def is_refused_before_its_end(content: Form | list[Piece]) -> bool:
    """Whether werkzeug finds fault with a form before it has read all of it.

    It gives the application an empty form then, and reads no more.
    """
    if not isinstance(content, Form):
        return False
    stream: Any = Endless(content.body)
    boundary = {"boundary": content.boundary.decode()}
    parser = FormDataParser(lambda **_: io.BytesIO(), silent=False)  # type: ignore[arg-type]
    try:
        parser.parse(stream, "multipart/form-data", None, boundary)
    except ValueError:
        return True
    except Gone:
        return False
    raise AssertionError("it found an end")


@fuzzed(broken_uploads, USUAL)
def test_requests_that_break_off(ours: Ours, case: BrokenUpload) -> None:
    """A 400, if there is still somebody to tell, and never an answer to a part."""
    assume(case.upload.encoded)
    if case.reset:
        with ours.server.connect() as connection:
            for packet in case.packets:
                connection.send(packet)
            connection.reset()
    else:
        answer = answer_to(ours.server, case.packets, end=True)
        assert answer is not None
        if answer.status == 200 and is_refused_before_its_end(case.upload.content):
            assert answer.json() == {"fields": [], "files": []}
        else:
            assert answer.status == 400, answer
    ours.check_unharmed()


@dataclass(frozen=True)
class MutatedChunks:
    """A body in chunked coding that is perhaps not sound."""

    body: Chunking
    changes: list[Edit]
    packets: Cuts

    @property
    def pieces(self) -> list[bytes]:
        sent = edited(self.body.wire, self.changes)
        return self.packets.pieces_of(head("POST", "/data", CHUNKED) + sent)

    @property
    def data(self) -> bytes | None:
        """The body as gunicorn decodes it; None if it refuses to."""
        found = b""

        def read(request: Any) -> None:
            nonlocal found
            found = request.body.read()

        try:
            serve(iter([b"".join(self.pieces)]), read, replaced=False)
        except (NoMoreData, ParseException):
            return None
        return found


mutated_chunks = st.builds(
    MutatedChunks,
    flawed_chunkings,
    edits(b"0\r\n\r\n", b"3\r\nabc\r\n", b"0", b"ffffffff", b";", b"\r\n\r\n"),
    cuts,
)


@pytest.mark.parametrize("gunicorn", ["newest"], indirect=True)  # it is what runs here, too
@fuzzed(mutated_chunks, USUAL)
def test_chunked_requests(ours: Ours, case: MutatedChunks) -> None:
    """What gunicorn decodes is the body, and what it refuses is a 400."""
    answer = answer_to(ours.server, case.pieces, end=True)
    if case.data is not None:
        assert answer is not None
        assert answer.json() == data_description(case.data)
    # A connection that is closed while there is more to receive is reset, and the answer lost.
    elif answer is not None:
        assert answer.status == 400
    ours.check_unharmed()
