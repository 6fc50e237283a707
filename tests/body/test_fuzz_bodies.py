"""Generated request bodies, sound and broken, against what is known to read them right.

Each test compares with an oracle: io.BytesIO for the reads of a body, gunicorn's own decoder for
the chunked coding, werkzeug's own parser for forms, and the stock worker for whole requests. What
is compared is also where a broken body was refused. tests/fuzzing.py says how many cases run.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent.event
import gevent.socket
import pytest
import werkzeug.formparser
import werkzeug.wrappers.request
from disk import no_leaks
from fuzzing import fuzzed
from generated_bodies import (
    BLOCK,
    Chunking,
    Cuts,
    Edit,
    Piece,
    chunkings,
    cuts,
    edited,
    edits,
    flawed_chunkings,
    joined,
    pieces,
    places,
    resolved,
)
from generated_forms import Form, forms
from greenlets import hub_scheduler, in_greenlet, running
from gunicorn.http.errors import ChunkMissingTerminator, NoMoreData, ParseException
from http_client import head
from hypothesis import strategies as st
from mended_decoder import MendedDecoder
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.formparser import FormDataParser, MultiPartParser
from werkzeug.wsgi import LimitedStream
from worker_in_process import serve

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.errors import BodyError, IncompleteBody, MalformedBody
from cooperative_upload.forms import werkzeug_patch
from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool.temporary_file import spools_closed_at_the_end

# The reads of a body.

NEXT_REQUEST = b"GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n"

# Seconds after which a body that waits for what will never be sent gives up. Nothing else waits so
# long: the client is in the same loop.
PATIENCE = 5.0

READS: dict[str, Callable[[Any, int], Any]] = {
    "read(n)": lambda body, n: body.read(n),
    "read()": lambda body, n: body.read(),
    "read(-1)": lambda body, n: body.read(-1),
    "read(None)": lambda body, n: body.read(None),
    "readline()": lambda body, n: body.readline(),
    "readline(n)": lambda body, n: body.readline(n),
    "readlines()": lambda body, n: body.readlines(),
    "readlines(n)": lambda body, n: body.readlines(n),
    "next()": lambda body, n: next(body, b""),
    "iteration": lambda body, n: list(body),
}


@dataclass(frozen=True)
class Read:
    """One call of a method of wsgi.input."""

    name: str
    size: int = 0

    def of(self, body: Any) -> Any:
        return READS[self.name](body, self.size)


few = ["read(n)", "readline()", "readline(n)", "next()", "readlines(n)"]  # leave a rest, mostly
reads = st.builds(
    Read,
    st.one_of(st.sampled_from(few), st.sampled_from(few), st.sampled_from(sorted(READS))),
    st.one_of(
        st.integers(0, 50), st.sampled_from([8192, BLOCK - 1, BLOCK]), st.integers(0, 200_000)
    ),
)


@dataclass(frozen=True)
class Exchange:
    """A request whose body arrives in some way and is read in another.

    body: the body itself, or the chunks in which it is sent.
    with_head: bytes of the body that come in one packet with the headers.
    packets: how the rest comes.
    end: "complete", "surplus" for a next request right behind it, or how it breaks off.
    breaks_at: where it does.
    wrapped: whether gunicorn's body is read through a CooperativeInput around it, as that of
        another server would be, instead of past it.
    leaves_rest: whether the application reads no further than `reads` say.
    """

    body: list[Piece] | Chunking
    with_head: int
    packets: Cuts
    end: str
    breaks_at: int
    wrapped: bool
    reads: list[Read]
    leaves_rest: bool

    @property
    def data(self) -> bytes:
        return joined(self.body.body if isinstance(self.body, Chunking) else self.body)

    @property
    def head(self) -> bytes:
        if isinstance(self.body, Chunking):
            return head("POST", "/", {"Transfer-Encoding": "chunked"})
        return head("POST", "/", {"Content-Length": str(len(self.data))})

    @property
    def sent(self) -> bytes:
        """What the client sends behind the headers before it waits, or breaks off."""
        encoded = self.body.wire if isinstance(self.body, Chunking) else self.data
        if self.breaks_off:
            return encoded[: resolved(self.breaks_at, len(encoded) - 1)]
        return encoded + (NEXT_REQUEST if self.end == "surplus" else b"")

    @property
    def sent_in_packets(self) -> list[bytes]:
        first = resolved(self.with_head, len(self.sent))
        return [self.head + self.sent[:first], *self.packets.pieces_of(self.sent[first:])]

    @property
    def breaks_off(self) -> bool:
        return self.end in ("FIN", "RST")

    @property
    def expected(self) -> int | None:
        return None if isinstance(self.body, Chunking) else len(self.data)


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    body = draw(st.one_of(pieces(), chunkings))
    may_break = isinstance(body, Chunking) or bool(joined(body))
    ends = ["complete", "surplus", "FIN", "RST"] if may_break else ["complete", "surplus"]
    return Exchange(
        body,
        draw(st.one_of(st.just(0), places)),
        draw(cuts),
        draw(st.sampled_from(ends)),
        draw(places),
        not isinstance(body, Chunking) and draw(st.integers(0, 3)) == 3,
        draw(st.lists(reads, max_size=8)),
        draw(st.booleans()),
    )


class Client:
    """Sends the packets of an exchange, and the next request when it is told to."""

    def __init__(self, exchange: Exchange, sock: Any) -> None:
        self._exchange = exchange
        self._sock = sock
        self._answered = gevent.event.Event()

    def take_answer(self) -> None:
        self._answered.set()

    def run(self) -> None:
        for packet in self._exchange.sent_in_packets:
            self._sock.sendall(packet)
            gevent.sleep(0)
        if self._exchange.end == "FIN":
            self._sock.shutdown(gevent.socket.SHUT_WR)
        elif self._exchange.end == "RST":
            self._sock.close()
        elif self._exchange.end == "complete":
            self._answered.wait()
            self._sock.sendall(NEXT_REQUEST)


@contextmanager
def client_of(exchange: Exchange) -> Iterator[tuple[Client, Any]]:
    """A client that sends, and the server's end of its connection."""
    sock, server = gevent.socket.socketpair()
    with sock, server:
        server.settimeout(PATIENCE)
        if exchange.end == "RST":
            server.sendall(b"unread")  # a socket that is closed with unread data is reset
        client = Client(exchange, sock)
        with running(client.run):
            yield client, server


def arrived(exchange: Exchange) -> bytes:
    """The beginning of the body that arrives where it breaks off."""
    if not isinstance(exchange.body, Chunking):
        return exchange.sent
    decoded = bytearray()

    def read(request: Any) -> None:
        with contextlib.suppress(NoMoreData, ParseException):
            for piece in request.body.reader.parser:
                decoded.extend(piece)
            raise AssertionError("gunicorn finds nothing wrong")

    serve(iter([exchange.head, exchange.sent]), read, replaced=False)
    return bytes(decoded)


def check_sound(body: Any, exchange: Exchange) -> None:
    """Every read gives what it gives on io.BytesIO."""
    model = io.BytesIO(exchange.data)
    at_the_end = (
        [] if exchange.leaves_rest else [Read("read()"), Read("read(n)", 1), Read("next()")]
    )
    for read in [*exchange.reads, *at_the_end]:
        assert read.of(body) == read.of(model), read
    assert not body.failed


def check_broken(body: Any, exchange: Exchange) -> None:
    """A read that needs what did not come raises, and so does each one after it."""
    came = arrived(exchange)
    # What differs if one more byte comes is what can't be told without it.
    models = [io.BytesIO(came), io.BytesIO(came + b"\n")]
    lossy = exchange.wrapped and exchange.end == "RST"  # gunicorn loses what it had read by then
    for read in [*exchange.reads, Read("read()")]:
        first, second = (read.of(model) for model in models)
        try:
            result = read.of(body)
        except BodyError as error:
            assert lossy or first != second, read
            check_error(body, error, exchange, len(came), exact=not lossy)
            return
        assert result == first == second, read
    raise AssertionError("the end of a broken body was taken for the end of a body")


def check_error(
    body: Any, error: BodyError, exchange: Exchange, came: int, *, exact: bool
) -> None:
    assert body.failed
    # gunicorn calls some ends of the chunked coding malformed that are only incomplete.
    assert isinstance(error, IncompleteBody) or isinstance(exchange.body, Chunking)
    if isinstance(error, IncompleteBody):
        assert error.expected == exchange.expected
    received = error.received  # type: ignore[attr-defined]
    assert received == body.received == came if exact else received <= came
    for name in READS:
        with pytest.raises(BodyError):
            Read(name, 1).of(body)


@fuzzed(exchanges())
def test_reads_of_a_body(case: Exchange) -> None:
    """As io.BytesIO until a BodyError; nothing behind the body is taken from the socket."""

    def run() -> None:
        with client_of(case) as (client, server):

            def read(request: Any) -> None:
                body = request.body
                if case.wrapped:
                    body = CooperativeInput(body, len(case.data))
                (check_broken if case.breaks_off else check_sound)(body, case)
                client.take_answer()

            def read_next(request: Any) -> None:
                assert (request.path, request.body.read()) == ("/next", b"")

            applications = [read] if case.breaks_off else [read, read_next]
            # Where too much is left of a body, or nobody knows how much, the connection ends.
            may_end = contextlib.suppress(*[StopIteration] if case.leaves_rest else [])
            with may_end:
                serve(server, *applications, replaced=not case.wrapped)

    with hub_scheduler():
        in_greenlet(run)


# The chunked coding.


@dataclass(frozen=True)
class ChunkedRequest:
    """A request in chunked coding, sound or not, as it arrives."""

    body: Chunking
    changes: list[Edit]
    with_head: int
    packets: Cuts
    read_size: int | None

    @property
    def pieces(self) -> list[bytes]:
        start = head("POST", "/", {"Transfer-Encoding": "chunked"})
        sent = edited(self.body.wire + NEXT_REQUEST, self.changes)
        first = self.with_head  # less than gunicorn receives at once
        return [start + sent[:first], *self.packets.pieces_of(sent[first:])]


chunked_requests = st.builds(
    ChunkedRequest,
    flawed_chunkings,
    edits(b"0\r\n\r\n", b"3\r\nabc\r\n", b'a;b="c"\r\n', b"0", b"ffffffff", b";", b"\r\n\r\n"),
    st.integers(0, 300),
    cuts,
    st.sampled_from([None, 1000, BLOCK]),
)


def reading_of(request: ChunkedRequest, *, replaced: bool) -> tuple[object, ...]:
    """The body, or how it was refused, and what became of the next request."""
    found: list[object] = []

    def read(gunicorns: Any) -> None:
        data = b""
        while piece := gunicorns.body.read(request.read_size):
            data += piece
        found.append(data)

    def read_next(gunicorns: Any) -> None:
        found.append((gunicorns.method, gunicorns.path, gunicorns.headers))

    try:
        serve(iter(request.pieces), read, read_next, replaced=replaced)
    except BodyError as error:
        found.append(type(error))
    except (NoMoreData, ParseException, StopIteration) as error:
        behind_the_body = bool(found)  # where it is gunicorn alone that reads
        assert behind_the_body or not replaced
        found.append(type(error) if behind_the_body else OURS[ends_early(error)])
    return tuple(found)


# Our error for one of gunicorn's decoder, by whether that says that there is no more.
OURS = {True: IncompleteBody, False: MalformedBody}


def ends_early(error: Exception) -> bool:
    """Whether a decoder's error is the end of the data, also within the end of a chunk."""
    cut = isinstance(error, ChunkMissingTerminator) and len(error.term) < 2
    return cut or isinstance(error, NoMoreData)


@fuzzed(chunked_requests)
def test_chunked_coding(case: ChunkedRequest) -> None:
    """What gunicorn's decoder reads or refuses is read or refused, and so is what follows."""
    ours = in_greenlet(lambda: reading_of(case, replaced=True))
    assert ours == reading_of(case, replaced=False)


# Forms.


@dataclass(frozen=True)
class ParsedForm:
    """A form, and how it is parsed.

    block: what the parser reads at once.
    memory: bytes of a part that our spool keeps in memory.
    limits: the parser's max_form_memory_size and max_form_parts.
    silent: whether it gives an empty form for what it can't parse.
    """

    form: Form
    block: int
    memory: int
    limits: tuple[int | None, int | None]
    silent: bool


parsed_forms = st.sampled_from([BLOCK, BLOCK, 1000, 100, 7]).flatmap(
    lambda block: st.builds(
        ParsedForm,
        forms(block),
        st.just(block),
        memory=st.sampled_from([500 * 1024, 500 * 1024, 100, 0]),
        limits=st.tuples(
            st.sampled_from([None] * 8 + [500_000, 1000, 10]),
            st.sampled_from([None] * 8 + [1000, 1, 0]),
        ),
        silent=st.booleans(),
    )
)

Parsed = tuple[MultiDict[str, str], MultiDict[str, FileStorage]]


def parse(case: ParsedForm, stream: Any, factory: Any) -> Parsed:
    """Parse as a request does; werkzeug fixes how much that reads at once."""
    size, parts = case.limits
    length = len(case.form.body)
    parser = FormDataParser(
        factory, max_form_memory_size=size, max_form_parts=parts, silent=case.silent
    )
    boundary = {"boundary": case.form.boundary.decode()}
    return parser.parse(stream, "multipart/form-data", length, boundary)[1:]


class BlockParser(MultiPartParser):
    """Reads less at once, so that small bodies are large ones."""

    block = BLOCK

    def __init__(self, **more: Any) -> None:
        super().__init__(**more, buffer_size=self.block)


def seen_of(case: ParsedForm, stream: Any, factory: Any) -> tuple[object, ...]:
    """All that an application can see of a form, or the error, and what was left unread."""
    seen: tuple[object, ...]
    try:
        fields, files = parse(case, stream, factory)
        seen = (list(fields.items(multi=True)), [described(*file) for file in files.items(True)])
    except Exception as error:
        seen = (type(error), str(error))
    return (*seen, stream.read())


def described(name: str, file: FileStorage) -> tuple[object, ...]:
    content = file.read()
    file.seek(0)
    again = b"".join(file)
    return (name, file.filename, file.name, list(file.headers), file.mimetype, content, again)


@contextmanager
def parser_that_reads(block: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BlockParser, "block", block)
        patch.setattr(werkzeug.formparser, "MultiPartParser", BlockParser)
        yield


@contextmanager
def patched(settings: UploadSettings) -> Iterator[None]:
    """werkzeug as the worker patches it."""
    replaced = [
        (werkzeug.formparser, "default_stream_factory"),
        (werkzeug.formparser, "MultipartDecoder"),
        (werkzeug.wrappers.request, "default_stream_factory"),
        (FileStorage, "save"),
        (LimitedStream, "on_disconnect"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in replaced:
            patch.setattr(owner, name, getattr(owner, name))
        werkzeug_patch.apply(settings)
        yield


@pytest.fixture(scope="module")
def spool_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("spools")
    with no_leaks(directory):
        yield directory


@fuzzed(parsed_forms)
def test_forms(spool_directory: Path, case: ParsedForm) -> None:
    """The same fields, files and errors as werkzeug (mended) without us, from the same bytes."""
    body = case.form.body
    settings = UploadSettings(
        small_body_bytes=0,
        spool_memory_bytes=case.memory,
        spool_batch_bytes=4096,
        spool_directory=str(spool_directory),
        max_part_header_bytes=0,  # which werkzeug does not limit
    )

    def ours() -> tuple[object, ...]:
        stream = CooperativeInput(io.BytesIO(body), len(body), settings)
        with spools_closed_at_the_end():
            return seen_of(case, stream, None)

    with parser_that_reads(case.block):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(werkzeug.formparser, "MultipartDecoder", MendedDecoder)
            expected = seen_of(case, io.BytesIO(body), lambda **_: io.BytesIO())
        with patched(settings), hub_scheduler():
            assert in_greenlet(ours) == expected
