"""CooperativeInput over each of its sources: the contract, the turns, the errors."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gevent
import gevent.event
import gevent.socket
import pytest
from body_contract import TEXT, TRAILING, BodyContract, OpenBody, bytewise
from gevent.hub import get_hub
from greenlets import (
    DEADLINE,
    FOREVER,
    hub_scheduler,
    in_greenlet,
    join,
    running,
    spinning,
    wait_until,
)
from sockets import Pair, body_from, socket_pair, tcp_pair, tls_pair

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.body.sources import MOST_AT_ONCE, PieceSource, SocketSource, StreamSource
from cooperative_upload.errors import (
    BodyError,
    BodyTimeout,
    BodyTooLarge,
    BodyTooSlow,
    IncompleteBody,
    MalformedBody,
)
from cooperative_upload.settings import UploadSettings

# Every body takes turns, also the small ones of these tests.
SETTINGS = UploadSettings(small_body_bytes=0)


class Decoder:
    """Yields pieces as a server's chunk decoder does, and ends as one does whose client left."""

    def __init__(self, pieces: Sequence[bytes], broken: bool = False) -> None:
        self._pieces = pieces
        self._broken = broken
        self.yielded = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.yielded += 1
            yield piece
        if self._broken:
            raise ConnectionAbortedError("No more data")


class OnlyRead:
    """The least that a wsgi.input can be: read(n), which waits for what it was asked for."""

    def __init__(self, data: bytes, block: int = 1 << 40) -> None:
        self._data = io.BytesIO(data)
        self._block = block
        self.calls = 0

    def read(self, size: int) -> bytes:
        assert size > 0, "a read that may ask for more than there is"
        self.calls += 1
        return self._data.read(min(size, self._block))


class SocketContract(BodyContract):
    """Over a real socket, on which a client sends piece by piece."""

    head_bytes = 0
    pair: Pair = staticmethod(socket_pair)

    @contextlib.contextmanager
    def open(
        self, pieces: Sequence[bytes], *, missing: int = 0, trailing: bytes = b""
    ) -> Iterator[OpenBody]:
        data = b"".join(pieces)
        length = len(data) + missing
        head, sent = data[: self.head_bytes], []
        skip = len(head)
        for piece in pieces:
            sent.append(piece[skip:])
            skip -= min(skip, len(piece))
        if trailing and sent:
            sent[-1] += trailing  # in one piece with the end of the body
        elif trailing:
            sent.append(trailing)

        with self.pair() as (client, server):

            def send() -> None:
                for piece in sent:
                    client.sendall(piece)
                    if len(sent) > 1:
                        gevent.sleep(0)
                if missing:
                    client.shutdown(gevent.socket.SHUT_WR)

            with running(send) as senders:

                def rest() -> bytes:
                    join(*senders)
                    received: bytes = server.recv(1000)
                    return received

                source = body_from(server, head, length)
                yield OpenBody(CooperativeInput(source, length, SETTINGS), rest)


class TestSocket(SocketContract):
    """All of the body is still to come."""


class TestSocketWithHead(SocketContract):
    """The server has read the first bytes together with the headers."""

    head_bytes = 7


class TestTLSSocket(SocketContract):
    """Inside of TLS, whose records keep bytes back that no event tells of."""

    pair = staticmethod(tls_pair)

    def test_split_at_every_offset(self) -> None:
        """Left to the plain socket: one handshake for each split would take long."""


class TestTLSSocketWithHead(TestTLSSocket):
    """The server has read the first bytes together with the headers."""

    head_bytes = 7


class TestPieces(BodyContract):
    """Chunked transfer coding: the length is not known."""

    knows_length = False

    @contextlib.contextmanager
    def open(
        self, pieces: Sequence[bytes], *, missing: int = 0, trailing: bytes = b""
    ) -> Iterator[OpenBody]:
        decoder = iter(Decoder([*pieces, b""], broken=missing > 0))
        body = CooperativeInput(PieceSource(decoder), None, SETTINGS)
        yield OpenBody(body, lambda: trailing)


class TestStream(BodyContract):
    """The wsgi.input of another server, with Content-Length."""

    @contextlib.contextmanager
    def open(
        self, pieces: Sequence[bytes], *, missing: int = 0, trailing: bytes = b""
    ) -> Iterator[OpenBody]:
        data = b"".join(pieces)
        stream = io.BytesIO(data + trailing)
        yield OpenBody(CooperativeInput(stream, len(data) + missing, SETTINGS), stream.read)


class TestStreamInThread(TestStream):
    """The same in a thread without gevent: there are no turns, and all else is as it was."""

    def run(self, function: Callable[[], object]) -> None:
        outcome: list[BaseException | None] = []

        def plain() -> None:
            try:
                function()
            except BaseException as error:
                outcome.append(error)
            else:
                outcome.append(None)
            assert gevent.hub._get_hub() is None  # type: ignore[attr-defined]

        thread = threading.Thread(target=plain)
        thread.start()
        thread.join(DEADLINE)
        (error,) = outcome
        if error is not None:
            raise error


class TestOnlyRead(BodyContract):
    """A wsgi.input with nothing but read(n), whose reads fall short where a piece ends."""

    @contextlib.contextmanager
    def open(
        self, pieces: Sequence[bytes], *, missing: int = 0, trailing: bytes = b""
    ) -> Iterator[OpenBody]:
        data = b"".join(pieces)
        longest = max(map(len, pieces), default=1)
        stream = OnlyRead(data + trailing, longest)
        body = CooperativeInput(stream, len(data) + missing, SETTINGS)
        yield OpenBody(body, lambda: b"".join(iter(lambda: stream.read(1000), b"")))


class TestStreamWithoutLength(BodyContract):
    """A stream that ends by itself and raises where its client left."""

    knows_length = False

    @contextlib.contextmanager
    def open(
        self, pieces: Sequence[bytes], *, missing: int = 0, trailing: bytes = b""
    ) -> Iterator[OpenBody]:
        class Stream(OnlyRead):
            def read(self, size: int) -> bytes:
                data = super().read(size)
                if not data and missing:
                    raise ConnectionResetError
                return data

        body = CooperativeInput(Stream(b"".join(pieces)), None, SETTINGS)
        yield OpenBody(body, lambda: trailing)


# Turns.


@contextlib.contextmanager
def counted_rounds() -> Iterator[list[int]]:
    """How often the loop goes round within the block."""
    rounds = [0]

    def count() -> None:
        rounds[0] += 1

    watcher: Any = get_hub().loop.prepare()
    watcher.start(count)
    try:
        yield rounds
    finally:
        watcher.stop()
        watcher.close()


BLOCK = 64 * 1024


def test_others_run_in_the_middle_of_a_large_read() -> None:
    """read() of all takes a turn for each block, and the loop goes round for each turn."""
    stream = OnlyRead(bytes(40 * BLOCK))
    body = CooperativeInput(stream, 40 * BLOCK)
    with hub_scheduler() as scheduler, counted_rounds() as rounds:
        assert len(in_greenlet(body.read)) == 40 * BLOCK
    assert stream.calls == scheduler.statistics().turns == 40
    assert rounds[0] >= 40


def test_others_run_per_piece() -> None:
    """One read of 2,000 chunks of one byte takes 2,000 turns, and one for the end."""
    body = CooperativeInput(PieceSource(iter([b"x"] * 2000)))
    with hub_scheduler() as scheduler, counted_rounds() as rounds:
        assert in_greenlet(lambda: body.read(BLOCK)) == b"x" * 2000
    assert scheduler.statistics().turns == 2001
    assert rounds[0] >= 2001


@pytest.mark.parametrize("read", ["readline", "__next__", "read"])
def test_others_run_while_a_block_is_taken_apart(read: str) -> None:
    """Short lines out of a large block: each call may end the turn."""
    body = CooperativeInput(PieceSource(iter([b"a\n" * 32 * 1024] * 2)))
    take: Callable[[], bytes] = {"read": lambda: body.read(2)}.get(read, getattr(body, read))

    def lines() -> int:
        return sum(take() == b"a\n" for _ in range(20_000))

    with hub_scheduler() as scheduler, counted_rounds() as rounds:
        assert in_greenlet(lines) == scheduler.statistics().turns == 20_000
    assert rounds[0] >= 20_000


def test_a_million_lines_in_slices() -> None:
    """With a real slice the lines come in many turns, not in one."""
    body = CooperativeInput(PieceSource(iter([b"\n" * BLOCK] * 16)))
    settings = UploadSettings()
    with hub_scheduler(settings.slice_ms / 1000, settings.deadline_ms / 1000) as scheduler:
        began = time.perf_counter()
        assert in_greenlet(lambda: sum(1 for _ in body)) == 16 * BLOCK
        took = time.perf_counter() - began
        statistics = scheduler.statistics()
    # A turn is a slice, and perhaps a time in which this process did not run.
    assert statistics.turns >= 50
    assert statistics.longest_slice < took / 4


def test_a_slice_takes_many_blocks() -> None:
    """Turns are not given up without need."""
    body = CooperativeInput(OnlyRead(bytes(40 * BLOCK)), 40 * BLOCK)
    with hub_scheduler(FOREVER) as scheduler:
        in_greenlet(body.read)
    assert scheduler.statistics().turns == 1


def test_two_bodies_are_read_in_turns() -> None:
    """Block by block, one after the other."""
    record: list[str] = []

    class Stream(OnlyRead):
        def __init__(self, name: str) -> None:
            super().__init__(bytes(5 * BLOCK))
            self._name = name

        def read(self, size: int) -> bytes:
            record.append(self._name)
            return super().read(size)

    bodies = [CooperativeInput(Stream(name), 5 * BLOCK) for name in "ab"]
    with hub_scheduler():
        join(*[gevent.spawn(body.read) for body in bodies])
    assert record == ["a", "b"] * 5


@pytest.mark.parametrize("length", [0, 1, 65535, 65536])
def test_a_small_body_takes_no_turns(length: int) -> None:
    """A small POST does not stand in line behind uploads."""
    body = CooperativeInput(io.BytesIO(bytes(length)), length)
    with hub_scheduler() as scheduler:
        assert len(in_greenlet(body.read)) == length
        assert in_greenlet(body.readline) == b""
    assert scheduler.statistics().waits == 0


@pytest.mark.parametrize(("length", "bound"), [(65537, 65536), (None, 65536), (1, 0), (11, 10)])
def test_other_bodies_take_turns(length: int | None, bound: int) -> None:
    """One byte more, or a length that nobody announced, which may be any."""
    body = CooperativeInput(
        io.BytesIO(bytes(length or 10)), length, UploadSettings(small_body_bytes=bound)
    )
    with hub_scheduler() as scheduler:
        assert len(in_greenlet(body.read)) == (length or 10)
    assert scheduler.statistics().turns >= 1


def test_a_stalled_client_holds_nobody_up() -> None:
    """Another upload is read whole while the first one waits for its socket."""
    with hub_scheduler(FOREVER) as scheduler, socket_pair() as (client, server):
        stalled = CooperativeInput(SocketSource(server, b"", 10), 10, SETTINGS)
        client.sendall(b"12345")
        first = gevent.spawn(stalled.read)
        wait_until(lambda: stalled.received == 5)
        second = CooperativeInput(OnlyRead(bytes(40 * BLOCK)), 40 * BLOCK)
        assert len(in_greenlet(second.read)) == 40 * BLOCK
        assert not first.ready()
        turns = scheduler.statistics().turns
        gevent.sleep(0.01)
        assert scheduler.statistics().turns == turns, "a waiting body keeps the loop busy"
        client.sendall(b"67890")
        join(first)
        assert first.value == b"1234567890"


def test_an_application_that_waits_holds_nobody_up() -> None:
    """Between two reads it may ask a database: its turn is over, and the next read takes one."""
    answered = gevent.event.Event()
    record: list[str] = []

    def application() -> None:
        body = CooperativeInput(OnlyRead(bytes(2 * BLOCK)), 2 * BLOCK)
        body.read(BLOCK)
        record.append("asks")
        answered.wait()
        body.read(BLOCK)
        record.append("ends")

    def upload() -> None:
        CooperativeInput(OnlyRead(bytes(40 * BLOCK)), 40 * BLOCK).read()
        record.append("upload")
        answered.set()

    with hub_scheduler(FOREVER) as scheduler:
        join(gevent.spawn(application), gevent.spawn(upload))
    assert record == ["asks", "upload", "ends"]
    assert scheduler.statistics().turns == 3


def test_a_source_that_waits_by_itself() -> None:
    """Whoever waited has a turn again before the application works on the block."""

    class Slow(OnlyRead):
        def read(self, size: int) -> bytes:
            gevent.sleep(0)
            return super().read(size)

    body = CooperativeInput(Slow(bytes(3 * BLOCK)), 3 * BLOCK)
    with hub_scheduler(FOREVER) as scheduler:

        def read() -> None:
            for _ in range(3):
                assert len(body.read(BLOCK)) == BLOCK
                assert scheduler.has_turn

        in_greenlet(read)


def test_a_socket_read_ends_in_a_turn() -> None:
    """The same where the body itself waited."""
    with hub_scheduler(FOREVER) as scheduler, socket_pair() as (client, server):
        body = CooperativeInput(SocketSource(server, b"", 2), 2, SETTINGS)

        def read() -> None:
            for _ in range(2):
                assert body.read(1) == b"x"
                assert scheduler.has_turn

        reader = gevent.spawn(read)
        for _ in range(2):
            gevent.sleep(0.002)
            client.sendall(b"x")
        join(reader)


def test_what_a_socket_gives_at_once_is_bounded() -> None:
    """read() of a gigabyte does not copy it in one turn."""

    class Socket:
        sizes: list[int] = []  # noqa: RUF012

        def gettimeout(self) -> float:
            return 5.0

        def settimeout(self, seconds: float) -> None:
            pass

        def recv(self, size: int) -> bytes:
            self.sizes.append(size)
            return bytes(size)

    body = CooperativeInput(SocketSource(Socket(), b"", 1 << 24), 1 << 24)
    with hub_scheduler() as scheduler:
        assert len(in_greenlet(body.read)) == 1 << 24
    assert max(Socket.sizes) == MOST_AT_ONCE
    assert scheduler.statistics().turns == len(Socket.sizes)


def test_the_socket_keeps_its_timeout() -> None:
    """Receiving without waiting changes nothing for those who use the socket later."""
    with hub_scheduler(), socket_pair() as (client, server):
        server.settimeout(12.5)
        client.sendall(b"x")
        body = CooperativeInput(SocketSource(server, b"", 1), 1)
        assert in_greenlet(body.read) == b"x"
        assert server.gettimeout() == 12.5


# Time and size.


class Gradual:
    """A source that takes a while for each piece; a float among the pieces is such a while."""

    read_ahead = 0

    def __init__(self, *pieces: bytes | float) -> None:
        self._pieces = iter(pieces)

    def receive(self, size: int) -> bytes:
        for piece in self._pieces:
            if isinstance(piece, bytes):
                return piece
            gevent.sleep(piece)
        return b""

    receive_line = receive


def chunks_from(sock: Any) -> Iterator[bytes]:
    """As a server's chunk decoder, which waits for the same socket."""
    while data := sock.recv(1000):
        yield data


SHORT = 0.02  # seconds: a time that is waited for


@pytest.mark.parametrize("pair", [socket_pair, tcp_pair, tls_pair])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_client_that_sends_nothing_more(pair: Pair, framing: str) -> None:
    """A 408 with the numbers, at this read and at all that follow; the rest is not waited for."""
    settings = UploadSettings(small_body_bytes=0, body_timeout_seconds=SHORT)
    length = None if framing == "chunked" else 10_000

    def test() -> None:
        with pair() as (client, server):
            source: Any = (
                PieceSource(chunks_from(server))
                if length is None
                else body_from(server, b"", length)
            )
            body = CooperativeInput(source, length, settings, sock=server)
            client.sendall(b"x" * 1234)
            began = time.monotonic()
            with pytest.raises(BodyTimeout) as caught:
                body.read()
            assert SHORT * 0.9 <= time.monotonic() - began < DEADLINE
            announced = "" if length is None else " of 10,000"
            assert caught.value.description == (
                f"The request body stopped arriving: received 1,234{announced} bytes, "
                f"then nothing for {SHORT:g} seconds."
            )
            assert (caught.value.received, caught.value.expected) == (1234, length)
            assert body.failed
            assert body.error is caught.value
            client.sendall(b"x")
            with pytest.raises(BodyTimeout):
                body.read(1)
            assert server.gettimeout() is None, "the response would have no more time"

    with hub_scheduler():
        in_greenlet(test)


def test_each_packet_begins_the_time_anew() -> None:
    """A body may take long as long as it comes."""
    settings = UploadSettings(body_timeout_seconds=1.0)

    def test() -> None:
        with socket_pair() as (client, server):
            body = CooperativeInput(SocketSource(server, b"", 6), 6, settings, sock=server)
            reader = gevent.spawn(body.read)
            for _ in range(6):
                gevent.sleep(0.2)
                client.sendall(b"x")
            join(reader)
            assert reader.value == b"x" * 6

    with hub_scheduler():
        in_greenlet(test)


def test_what_a_body_waits_for_its_turn_does_not_count() -> None:
    """The client has sent all; it can't help that others are in line."""
    settings = UploadSettings(
        small_body_bytes=0,
        body_timeout_seconds=SHORT,
        min_rate_bytes=1e9,
        min_rate_window_seconds=0.1,
    )
    with hub_scheduler(), socket_pair() as (client, server):
        client.sendall(b"1234567890")
        body = CooperativeInput(SocketSource(server, b"", 10), 10, settings, sock=server)
        with spinning():  # nobody gets a turn
            reader = gevent.spawn(body.read, 1)
            gevent.sleep(5 * SHORT)
            assert not reader.ready()
        join(reader)
        assert in_greenlet(body.read) == b"234567890"
        assert reader.value == b"1"


def test_what_the_application_takes_does_not_count() -> None:
    """Between two reads it may take its time."""
    settings = UploadSettings(
        body_timeout_seconds=SHORT, min_rate_bytes=1e9, min_rate_window_seconds=0.1
    )
    with hub_scheduler(), socket_pair() as (client, server):
        client.sendall(b"1234567890")
        body = CooperativeInput(SocketSource(server, b"", 10), 10, settings, sock=server)
        assert in_greenlet(lambda: body.read(1)) == b"1"
        gevent.sleep(0.15)
        assert in_greenlet(body.read) == b"234567890"


def test_no_time_limit() -> None:
    """0 is forever: the socket's own time-out is left alone."""
    settings = UploadSettings(body_timeout_seconds=0)
    with hub_scheduler(), socket_pair() as (client, server):
        server.settimeout(12.5)
        client.sendall(b"x")
        body = CooperativeInput(SocketSource(server, b"", 1), 1, settings, sock=server)
        assert in_greenlet(body.read) == b"x"
        assert server.gettimeout() == 12.5


def test_a_time_out_of_the_network_is_a_lost_connection() -> None:
    """ETIMEDOUT is a TimeoutError too: the network has given up, and not this server."""

    class Lost(OnlyRead):
        def read(self, size: int) -> bytes:
            raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    with hub_scheduler(), socket_pair() as (_, server):
        body = CooperativeInput(Lost(b""), 10, UploadSettings(), sock=server)
        with pytest.raises(IncompleteBody, match=r"lost \(Connection timed out\)\.$"):
            in_greenlet(body.read)


RATE = UploadSettings(small_body_bytes=0, min_rate_bytes=10_000, min_rate_window_seconds=0.1)


@pytest.mark.parametrize("length", [5000, None])
def test_a_body_that_comes_too_slowly(length: int | None) -> None:
    """A 408 after a window in which less came than the minimum."""
    trickle: list[bytes | float] = [0.01, b"x"]
    pieces = [bytes(2000), *(trickle * 100)]
    body = CooperativeInput(Gradual(*pieces), length, RATE)
    with hub_scheduler():
        with pytest.raises(BodyTooSlow) as caught:  # the first window was fast enough
            in_greenlet(body.read)
        error = caught.value
        assert error.minimum == 10_000
        assert 0 < error.rate < 1000
        assert 2000 < error.received < 2040
        assert error.expected == length
        assert body.failed
        with pytest.raises(BodyTooSlow):
            in_greenlet(body.read)


def test_fast_enough() -> None:
    """Taken over a window: a gap within it ends nothing, and neither does a wait before all."""
    settings = dataclasses.replace(RATE, min_rate_bytes=1000)
    window: list[bytes | float] = [0.05, b"x", 0.06, bytes(2999)]
    body = CooperativeInput(Gradual(*window, *window, 0.01), 6000, settings)
    with hub_scheduler():
        assert len(in_greenlet(body.read)) == 6000


@pytest.mark.parametrize("length", [1001, None])
def test_a_body_that_is_whole_is_not_too_slow(length: int | None) -> None:
    """Its end may be long in coming: what is complete is not refused."""
    last: list[bytes | float] = [0.15, b"x"] if length else [0.15]
    body = CooperativeInput(Gradual(bytes(1000), *last), length, RATE)
    with hub_scheduler():
        assert len(in_greenlet(body.read)) == (length or 1000)


@pytest.mark.parametrize("length", [0, 1, 9, 10])
def test_up_to_the_limit(length: int) -> None:
    """The limit is the largest size that is accepted, whatever the framing."""
    for announced in (length, None):
        body = CooperativeInput(
            PieceSource(iter(bytewise(TEXT[:length]))), announced, SETTINGS, most_bytes=10
        )
        with hub_scheduler():
            assert in_greenlet(body.read) == TEXT[:length]
        assert not body.failed


def test_announced_too_large() -> None:
    """Refused before a byte of it was read, and before the client was told to send."""
    announced: list[int] = []
    stream = OnlyRead(bytes(11))
    body = CooperativeInput(
        stream, 11, SETTINGS, most_bytes=10, before_receiving=lambda: announced.append(1)
    )
    assert isinstance(body.error, BodyTooLarge)
    assert body.failed
    for read in (body.read, body.readline, body.readlines, lambda: next(body)):
        with hub_scheduler(), pytest.raises(BodyTooLarge) as caught:
            in_greenlet(read)
    assert caught.value.description == (
        "The request body is too large: got 11 bytes, accepted are at most 10."
    )
    assert (caught.value.limit, caught.value.expected) == (10, 11)
    assert (stream.calls, announced, body.received) == (0, [], 0)


@pytest.mark.parametrize("sizes", [[11], [10, 1], [1] * 20, [4, 4, 4]])
def test_found_too_large(sizes: list[int]) -> None:
    """A body without an announced size is refused with the byte that is one too many."""
    body = CooperativeInput(
        PieceSource(iter([bytes(size) for size in sizes])), None, SETTINGS, most_bytes=10
    )
    with hub_scheduler():
        for _ in range(2):
            with pytest.raises(BodyTooLarge) as caught:
                in_greenlet(body.read)
    assert caught.value.description == (
        "The request body is too large: got more than 10 bytes, accepted are at most 10."
    )
    assert caught.value.expected is None
    assert 11 <= body.received <= 12  # what came, though nobody gets it


def test_a_limit_of_its_reader() -> None:
    """The smaller one of it and the body's own counts, from the next read on."""
    for own, readers, smaller in ((10, 5, 5), (5, 10, 5), (None, 5, 5)):
        body = CooperativeInput(
            PieceSource(iter([b"123", b"456"])), None, SETTINGS, most_bytes=own
        )
        body.limit_to(readers)
        assert body.read(3) == b"123"
        with pytest.raises(BodyTooLarge) as caught:
            body.read(3)
        assert (caught.value.limit, caught.value.expected) == (smaller, None)
    announced = CooperativeInput(io.BytesIO(TEXT[:11]), 11, SETTINGS)
    announced.limit_to(11)
    for refused in (lambda: announced.limit_to(10), lambda: announced.read(1)):
        with pytest.raises(BodyTooLarge) as caught:
            refused()
        assert (caught.value.limit, caught.value.expected) == (10, 11)
    assert announced.received == 0


def test_a_limit_behind_the_end() -> None:
    """What was read already is not refused any more."""
    body = CooperativeInput(io.BytesIO(TEXT[:11]), 11, SETTINGS)
    assert body.read() == TEXT[:11]
    body.limit_to(10)
    assert body.read() == b""
    assert not body.failed


def test_what_comes_before_the_limit_can_be_read() -> None:
    """The error comes where it belongs."""
    body = CooperativeInput(PieceSource(iter([b"12345", bytes(10)])), None, most_bytes=10)
    with hub_scheduler():
        assert in_greenlet(lambda: body.read(5)) == b"12345"
        with pytest.raises(BodyTooLarge):
            in_greenlet(lambda: body.read(1))


# What a server asks.


@pytest.mark.parametrize("length", [10, None])
@pytest.mark.parametrize("method", ["read", "readline"])
def test_the_server_is_told_of_the_first_receive(length: int | None, method: str) -> None:
    """Once, before it, and not when the body is made or takes its turn."""
    events: list[str] = []

    class Watched(OnlyRead):
        def read(self, size: int) -> bytes:
            events.append("receive")
            return super().read(size)

    body = CooperativeInput(
        Watched(b"12345\n7890"),
        length,
        SETTINGS,
        before_receiving=lambda: events.append("announced"),
    )
    with hub_scheduler():
        in_greenlet(body.checkpoint)
        assert events == []
        in_greenlet(lambda: getattr(body, method)(2))
        assert events == ["announced", "receive"]
        in_greenlet(body.read)
        assert in_greenlet(body.read) == b""
    assert events.count("announced") == 1
    assert events.count("receive") > 1


def test_the_server_is_not_told_where_nothing_is_received() -> None:
    """An empty body, and a read of nothing."""
    told: list[int] = []
    for length, size in ((0, -1), (10, 0)):
        body = CooperativeInput(
            OnlyRead(bytes(10)), length, before_receiving=lambda: told.append(1)
        )
        assert body.read(size) == b""
    assert told == []


def test_a_client_that_is_gone_when_it_is_told_to_send() -> None:
    """The body ends as for any lost connection."""

    def send() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    body = CooperativeInput(OnlyRead(bytes(10)), 10, before_receiving=send)
    with pytest.raises(IncompleteBody, match=r"lost \(Broken pipe\)\.$"):
        body.read()


@pytest.mark.parametrize("length", [10, None])
def test_what_is_to_come(length: int | None) -> None:
    """What has not come from the source, whoever has read how much of it; unknown to the end."""
    body = CooperativeInput(PieceSource(iter([b"1234", b"567890"])), length, SETTINGS)
    assert body.content_length == length
    for size, received in ((0, 0), (1, 4), (3, 4), (1, 10), (4, 10)):
        body.read(size)
        assert body.received == received
        assert body.to_come == (None if length is None else 10 - received)
    assert body.read() == b"0"
    assert body.to_come == 0


def test_nothing_is_to_come_of_an_empty_body() -> None:
    """It has ended before it was read."""
    assert CooperativeInput(OnlyRead(b""), 0).to_come == 0


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (
            ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
            "the connection was lost (Connection reset by peer)",
        ),
        (ConnectionAbortedError("No more data"), "the client stopped sending"),
        (OSError(), "the client stopped sending"),
        (gevent.Timeout(1), "a read was broken off (Timeout)"),
        (gevent.GreenletExit(), "a read was broken off (GreenletExit)"),
        (RuntimeError("x"), "a read was broken off (RuntimeError)"),
    ],
)
def test_the_cause_is_told(error: BaseException, cause: str) -> None:
    """In the words of the system where it has some."""

    class Failing(OnlyRead):
        def read(self, size: int) -> bytes:
            raise error

    body = CooperativeInput(Failing(b""), 12_345)
    with pytest.raises((type(error), IncompleteBody)):
        body.read()
    with pytest.raises(IncompleteBody) as caught:
        body.read()
    start = f"The request body is incomplete: received 0 of 12,345 bytes before {cause}"
    assert caught.value.description is not None
    assert caught.value.description.startswith(start)


# Errors.


def test_a_reset_connection() -> None:
    """The client is gone: an incomplete body, with the transport's word as its cause."""
    with hub_scheduler(), socket_pair() as (client, server):
        server.sendall(b"unread")  # closing a socket with unread data resets the connection
        client.sendall(b"123")
        body = CooperativeInput(SocketSource(server, b"", 10), 10)
        assert in_greenlet(lambda: body.read(3)) == b"123"
        client.close()
        with pytest.raises(IncompleteBody, match="received 3 of 10 bytes") as caught:
            in_greenlet(body.read)
    assert isinstance(caught.value.__cause__, ConnectionResetError)


def test_a_socket_that_times_out() -> None:
    """A timeout of the socket ends the body too: nobody waits for the rest any more."""
    with hub_scheduler(), socket_pair() as (client, server):
        server.settimeout(0.01)
        client.sendall(b"123")
        body = CooperativeInput(SocketSource(server, b"", 10), 10, SETTINGS)
        with pytest.raises(IncompleteBody, match="received 3 of 10 bytes") as caught:
            in_greenlet(body.read)
    assert isinstance(caught.value.__cause__, TimeoutError)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), ssl.SSLError(1, "bad record")])
def test_any_transport_error(error: OSError) -> None:
    """Whatever the transport calls it."""

    class Broken(OnlyRead):
        def read(self, size: int) -> bytes:
            raise error

    body = CooperativeInput(Broken(b""), 10)
    for _ in range(2):
        with pytest.raises(IncompleteBody) as caught:
            body.read()
        assert caught.value.__cause__ is error


def test_an_error_of_the_source_is_not_told_anew() -> None:
    """The source knows better what is wrong; it is as final as the others."""

    def decoder() -> Iterator[bytes]:
        yield b"12345"
        raise MalformedBody(5, "no such chunk size")

    body = CooperativeInput(PieceSource(decoder()))
    assert body.read(5) == b"12345"
    for _ in range(2):
        with pytest.raises(MalformedBody):
            body.read()
    assert body.failed


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("error", [gevent.Timeout, gevent.GreenletExit, RuntimeError])
def test_an_interrupted_read(framing: str, error: type[BaseException]) -> None:
    """What a read had received when it was broken off is gone, so the body is not whole any more:
    whoever catches the interruption and reads on gets an error, and not the end."""

    def decoder() -> Iterator[bytes]:
        yield b"123"
        raise error()

    class Stream(OnlyRead):
        def read(self, size: int) -> bytes:
            data = super().read(3)
            if not data:
                self._data = io.BytesIO(b"45678")
                raise error()
            return data

    chunked = framing == "chunked"
    body = CooperativeInput(
        PieceSource(decoder()) if chunked else Stream(b"123"), None if chunked else 8, SETTINGS
    )
    with hub_scheduler():
        with pytest.raises(error):
            in_greenlet(body.read)
        assert body.failed
        for _ in range(2):
            with pytest.raises(BodyError):
                in_greenlet(body.read)


@pytest.mark.parametrize("error", [gevent.Timeout, gevent.GreenletExit])
def test_interrupted_in_line_between_two_reads(error: type[BaseException]) -> None:
    """In line nothing is lost: the next read goes on where the last one ended."""
    body = CooperativeInput(OnlyRead(b"first\nsecond\n"), 13, SETTINGS)
    with hub_scheduler() as scheduler:
        assert in_greenlet(body.readline) == b"first\n"

        def interrupted() -> None:
            with pytest.raises(error):
                body.readline()

        with spinning():
            reader = gevent.spawn(interrupted)
            wait_until(lambda: scheduler.statistics().queue_length == 1)
            reader.kill(error)
            join(reader)
        assert in_greenlet(body.readline) == b"second\n"
        assert not body.failed


# TLS.


def test_bytes_that_openssl_has_already() -> None:
    """Two bodies in one record: what is inside OpenSSL makes no socket readable."""
    first, second = TEXT, b"x" * 10_000

    def test() -> None:
        with tls_pair() as (client, server):
            client.sendall(first + second)
            body = CooperativeInput(body_from(server, b"", len(first)), len(first), SETTINGS)
            assert body.read() == first
            assert server.pending() == len(second)
            after = CooperativeInput(body_from(server, b"", 10_000), 10_000, SETTINGS)
            assert after.read(100) == second[:100]
            assert after.read() == second[100:]

    with hub_scheduler():
        in_greenlet(test)


def test_a_stalled_tls_client() -> None:
    """Where no record has come there is nothing to read yet: the body waits for its rest."""

    def test() -> None:
        with tls_pair() as (client, server):
            body = CooperativeInput(body_from(server, b"", 10), 10, SETTINGS)
            reader = gevent.spawn(body.read)
            for part in (b"12345", b"67890"):
                gevent.sleep(0.002)
                assert not reader.ready()
                client.sendall(part)
            join(reader)
            assert reader.value == b"1234567890"

    with hub_scheduler():
        in_greenlet(test)


def test_large_body_over_tls() -> None:
    """Many records, each of them in parts."""
    data = bytes(range(256)) * 4096

    def test() -> None:
        with tls_pair() as (client, server), running(lambda: client.sendall(data)):
            body = CooperativeInput(body_from(server, b"", len(data)), len(data))
            assert b"".join(iter(lambda: body.read(10_007), b"")) == data

    with hub_scheduler():
        in_greenlet(test)


@pytest.mark.parametrize("how", ["close", "garbage"])
def test_tls_that_breaks_off(how: str) -> None:
    """Without a farewell, or with something that is no record."""

    def test() -> None:
        with tls_pair() as (client, server):
            client.sendall(b"12345")
            raw = client.detach()
            sock = gevent.socket.socket(fileno=raw)
            if how == "garbage":
                sock.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
            with sock:
                sock.shutdown(gevent.socket.SHUT_WR)
                body = CooperativeInput(body_from(server, b"", 10), 10, SETTINGS)
                with pytest.raises(IncompleteBody, match="received 5 of 10 bytes"):
                    body.read()

    with hub_scheduler():
        in_greenlet(test)


# Time: nothing is quadratic.


def seconds(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def assert_not_quadratic(work: Callable[[int], object], size: int) -> None:
    """Four times as much takes four times as long, and not sixteen times.

    Others use the cores too, so one pair of ten will do: what is quadratic has none.
    """
    pairs = ((seconds(lambda: work(size)), seconds(lambda: work(4 * size))) for _ in range(10))
    assert any(longer < 9 * shorter + 0.01 for shorter, longer in pairs)


def exhaust(read: Callable[[], bytes]) -> None:
    while read():
        pass


def in_one_block(size: int) -> CooperativeInput:
    return CooperativeInput(PieceSource(iter([b"ab\n" * size])))


def test_lines_of_a_block_take_linear_time() -> None:
    """A rest is not copied for each line."""
    assert_not_quadratic(lambda size: exhaust(in_one_block(size).readline), 20_000)


def test_small_reads_of_a_block_take_linear_time() -> None:
    """Nor for each read(3)."""

    def work(size: int) -> None:
        body = in_one_block(size)
        exhaust(lambda: body.read(3))

    assert_not_quadratic(work, 20_000)


def test_a_read_of_small_pieces_takes_linear_time() -> None:
    """What has come is not copied for each piece that comes."""
    assert_not_quadratic(
        lambda size: CooperativeInput(PieceSource(iter([b"x" * 10] * size))).read(), 20_000
    )


def test_a_line_of_small_pieces_takes_linear_time() -> None:
    """Nor searched again from its beginning."""
    assert_not_quadratic(
        lambda size: CooperativeInput(PieceSource(iter([b"x" * 10] * size))).readline(), 20_000
    )


def test_a_long_line_of_a_stream_takes_linear_time() -> None:
    """Also where it is looked for in steps."""
    assert_not_quadratic(
        lambda size: CooperativeInput(OnlyRead(bytes(size)), size).readline(), 4_000_000
    )


def test_lines_of_a_stream_are_not_asked_for_byte_by_byte() -> None:
    """The number of calls is that of the lines, or of the steps in which they are looked for."""
    stream = OnlyRead(b"x" * 999 + b"\n")
    assert len(CooperativeInput(stream, 1000).readline()) == 1000
    assert stream.calls == 1


def test_a_whole_block_is_not_copied() -> None:
    """What was received in one piece is handed on as it is."""
    block = bytes(BLOCK)
    assert CooperativeInput(PieceSource(iter([block]))).read(BLOCK) is block


def test_pieces_of_one_byte_are_read_in_time() -> None:
    """The decoder is asked once for each."""
    decoder = Decoder(bytewise(TEXT))
    assert CooperativeInput(PieceSource(iter(decoder))).read() == TEXT
    assert decoder.yielded == len(TEXT)


def test_a_stream_source_with_a_bound() -> None:
    """most_at_once: what is asked for in one call, so that others can run in between."""
    stream = OnlyRead(bytes(100))
    source = StreamSource(stream, most_at_once=10)
    assert len(CooperativeInput(source, 100).read()) == 100
    assert stream.calls == 10


def test_nothing_is_asked_for_behind_the_end() -> None:
    """A stream that waits for what it was asked for would wait for the next request."""
    stream = OnlyRead(TEXT + TRAILING)
    body = CooperativeInput(stream, len(TEXT))
    assert body.read() == TEXT
    assert stream.calls == 1
    assert body.read() == b""
    assert stream.calls == 1
