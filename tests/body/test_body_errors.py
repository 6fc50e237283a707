"""What a body tells the server that reads it, and how it ends when its source fails."""

from __future__ import annotations

import errno
import io
import ssl
from collections.abc import Iterator

import gevent
import pytest
from body_sources import SETTINGS, OnlyRead
from greenlets import hub_scheduler, in_greenlet, join, spinning, wait_until
from sockets import socket_pair

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.body.sources import PieceSource, SocketSource
from cooperative_upload.errors import BodyError, IncompleteBody, MalformedBody

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
