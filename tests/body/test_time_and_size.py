"""Bodies that come too slowly, and bodies that are too large."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import socket
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from body_contract import TEXT, bytewise
from body_sources import SETTINGS, OnlyRead
from greenlets import DEADLINE, hub_scheduler, in_greenlet, join, spinning
from sockets import Pair, body_from, socket_pair, tcp_pair, tls_pair

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.body.sources import PieceSource, SocketSource
from cooperative_upload.errors import BodyTimeout, BodyTooLarge, BodyTooSlow, IncompleteBody
from cooperative_upload.settings import UploadSettings


class Gradual:
    """A source that takes a while for each piece; a float among the pieces is such a while."""

    read_ahead = 0
    most_pending = 0

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


def test_bytes_that_are_no_body_do_not_begin_the_time_anew() -> None:
    """Extensions of chunks, trailers, a TLS record that is not whole: nothing of the body came."""

    def pieces() -> Iterator[bytes]:
        yield b"x"
        while True:
            gevent.sleep(SHORT / 5)

    settings = UploadSettings(small_body_bytes=0, body_timeout_seconds=SHORT)
    with hub_scheduler(), socket_pair() as (_, server):
        body = CooperativeInput(PieceSource(pieces()), None, settings, sock=server)
        with pytest.raises(BodyTimeout) as caught:
            in_greenlet(body.read)
        assert caught.value.received == 1


def test_a_stream_that_collects_has_the_time_between_two_packets() -> None:
    """That of another server, which returns when it has all that was asked for."""
    settings = UploadSettings(small_body_bytes=0, body_timeout_seconds=1.0)

    def test() -> None:
        with socket_pair() as (client, server):

            class Collecting:
                def read(self, size: int) -> bytes:
                    return b"".join(server.recv(1) for _ in range(size))

            body = CooperativeInput(Collecting(), 6, settings, sock=server)
            reader = gevent.spawn(body.read)
            for _ in range(6):
                gevent.sleep(0.25)
                client.sendall(b"x")
            join(reader)
            assert reader.value == b"x" * 6
            stalled = CooperativeInput(
                Collecting(),
                6,
                dataclasses.replace(settings, body_timeout_seconds=SHORT),
                sock=server,
            )
            with pytest.raises(BodyTimeout):
                stalled.read()

    with hub_scheduler():
        in_greenlet(test)


def test_outside_of_a_hub_the_socket_has_the_limit() -> None:
    """A plain socket, whose reader no timer can end."""
    settings = UploadSettings(body_timeout_seconds=SHORT)
    client, server = socket.socketpair()
    with client, server:
        client.sendall(b"x")
        body = CooperativeInput(SocketSource(server, b"", 2), 2, settings, sock=server)
        with pytest.raises(BodyTimeout):
            body.read()
        assert server.gettimeout() is None


def test_a_time_out_of_the_application_leaves_the_limit() -> None:
    """It breaks the read off; the limit that was to come later ends nothing else."""
    settings = UploadSettings(small_body_bytes=0, body_timeout_seconds=2 * SHORT)
    with hub_scheduler(), socket_pair() as (_, server):
        body = CooperativeInput(SocketSource(server, b"", 9), 9, settings, sock=server)

        def read() -> str:
            with contextlib.suppress(gevent.Timeout), gevent.Timeout(SHORT):
                body.read()
            gevent.sleep(3 * SHORT)
            return "went on"

        assert in_greenlet(read) == "went on"
        assert isinstance(body.error, IncompleteBody)


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
    """Taken over a window: a gap within it ends nothing."""
    settings = dataclasses.replace(RATE, min_rate_bytes=1000, min_rate_window_seconds=2.0)
    window: list[bytes | float] = [0.05, b"x", 0.06, bytes(2999)]
    body = CooperativeInput(Gradual(*window, *window, 0.01), 6000, settings)
    with hub_scheduler():
        assert len(in_greenlet(body.read)) == 6000


@pytest.mark.parametrize("length", [1001, None])
def test_a_body_that_is_whole_is_not_too_slow(length: int | None) -> None:
    """Where nothing ends a receive, outside of a hub: what is complete is not refused."""
    last: list[bytes | float] = [0.15, b"x"] if length else [0.15]
    body = CooperativeInput(Gradual(bytes(1000), *last), length, RATE)
    assert len(body.read()) == (length or 1000)


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
