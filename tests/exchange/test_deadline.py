"""Deadlines of connections on which there is no request yet."""

from __future__ import annotations

import contextlib
import gc
import ssl
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gevent
import gevent.socket
import pytest
from disk import descriptors
from gevent.server import StreamServer
from greenlets import DEADLINE, in_greenlet, join, wait_until
from sockets import Pair, socket_pair, tcp_pair, tls_contexts, tls_pair

from cooperative_upload.exchange import deadline
from cooperative_upload.exchange.deadline import ConnectionDeadline, closed_after, limit_handshakes

SHORT = 0.03  # seconds: a time that is waited for
LONG = 2 * DEADLINE


@pytest.mark.parametrize("pair", [socket_pair, tcp_pair, tls_pair])
def test_a_reader_sees_the_end(pair: Pair) -> None:
    """As if the client had gone, and so does the client."""

    def test() -> None:
        with pair() as (client, server):
            began = time.monotonic()
            with closed_after(server, SHORT) as deadline:
                assert server.recv(1) == b""
            assert SHORT * 0.9 <= time.monotonic() - began < DEADLINE
            assert deadline.expired
            assert client.recv(1) == b""

    in_greenlet(test)


@pytest.mark.parametrize("pair", [socket_pair, tcp_pair, tls_pair])
def test_in_time(pair: Pair) -> None:
    """Behind the block, or behind cancel(), the connection has all the time it needs."""

    def test() -> None:
        with pair() as (client, server):
            with closed_after(server, SHORT) as deadline:
                client.sendall(b"x")
                assert server.recv(1) == b"x"
            with closed_after(server, SHORT) as cancelled:
                cancelled.cancel()
                cancelled.cancel()
                gevent.sleep(2 * SHORT)
            assert not deadline.expired
            assert not cancelled.expired
            client.sendall(b"y")
            assert server.recv(1) == b"y"

    in_greenlet(test)


def test_never() -> None:
    """0 seconds are no deadline."""

    def test() -> None:
        with socket_pair() as (client, server):
            with closed_after(server, 0) as deadline:
                gevent.sleep(0.002)
                client.sendall(b"x")
                assert server.recv(1) == b"x"
            assert not deadline.expired

    in_greenlet(test)


def test_an_error_of_the_block_ends_the_deadline() -> None:
    """What became of it is its own business."""

    def test() -> None:
        with socket_pair() as (client, server):
            with pytest.raises(ZeroDivisionError), closed_after(server, SHORT) as deadline:
                raise ZeroDivisionError
            gevent.sleep(2 * SHORT)
            assert not deadline.expired
            client.sendall(b"x")
            assert server.recv(1) == b"x"

    in_greenlet(test)


@pytest.mark.parametrize("state", ["closed", "client gone"])
def test_of_a_connection_that_has_ended(state: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is left to shut down, and nothing is said about it."""

    def test() -> None:
        with tcp_pair() as (client, server):
            deadline = ConnectionDeadline(server, SHORT)
            (server if state == "closed" else client).close()
            wait_until(lambda: deadline.expired)
            deadline.cancel()

    in_greenlet(test)
    assert capfd.readouterr().err == ""


class RecordedLoop:
    """A loop whose only timer never comes, and tells what was done with it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        hub = SimpleNamespace(loop=self)
        monkeypatch.setattr(deadline, "get_hub", lambda: hub)

    def timer(self, seconds: float, **options: Any) -> RecordedLoop:
        self.done.append(f"made for {seconds:g}")
        return self

    def start(self, callback: Callable[[], object], **options: Any) -> None:
        self.done.append("started")
        self.expire = callback

    def stop(self) -> None:
        self.done.append("stopped")

    def close(self) -> None:
        self.done.append("closed")


def test_the_timer_is_stopped_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once: libev needs the first, and libuv, where a timer is freed behind its close, both."""
    loop = RecordedLoop(monkeypatch)
    with socket_pair() as (_, server), closed_after(server, LONG) as deadline:
        assert loop.done == [f"made for {LONG:g}", "started"]
        deadline.cancel()
        assert loop.done[2:] == ["stopped", "closed"]
    assert loop.done[2:] == ["stopped", "closed"]


def test_the_timer_of_a_deadline_that_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is closed all the same, at the end of the block."""
    loop = RecordedLoop(monkeypatch)
    with socket_pair() as (_, server), closed_after(server, SHORT) as deadline:
        loop.expire()
        assert deadline.expired
    assert loop.done[2:] == ["stopped", "closed"]


def test_timers_do_not_stay() -> None:
    """Of ten thousand connections in time none is left in the loop."""

    def test() -> None:
        with socket_pair() as (_, server):
            for _ in range(10_000):
                with closed_after(server, LONG):
                    pass

    in_greenlet(test)
    gc.collect()
    assert not [each for each in gc.get_objects() if type(each) is ConnectionDeadline]


# TLS handshakes.


class Server:
    """A server whose connections get a greeting when their TLS handshake is done."""

    def __init__(self, seconds: float) -> None:
        self.failures: list[str] = []
        self.client_context, context = tls_contexts()
        limit_handshakes(context, seconds, lambda sock, reason: self.failures.append(reason))
        self._server = StreamServer(("127.0.0.1", 0), self._greet, ssl_context=context)

    def __enter__(self) -> Server:
        self._server.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.stop()

    def connect(self) -> Any:
        """A new connection below TLS."""
        return gevent.socket.create_connection(("127.0.0.1", self._server.server_port))

    def _greet(self, sock: Any, address: object) -> None:
        sock.sendall(b"hello")


def test_a_handshake_in_time() -> None:
    """The connection works as any other, also when the time has passed."""

    def test() -> None:
        with Server(DEADLINE) as server, server.connect() as raw:
            context = server.client_context
            with context.wrap_socket(raw, server_hostname="localhost") as sock:
                assert sock.recv(100) == b"hello"
            assert server.failures == []

    in_greenlet(test)


def test_the_limit_is_for_the_handshake_alone() -> None:
    """A connection that is idle behind it goes on."""

    def test() -> None:
        for_client, for_server = tls_contexts()
        limit_handshakes(for_server, 20 * SHORT, lambda sock, reason: pytest.fail(reason))
        with socket_pair() as (client, server):
            handshake: Any = gevent.spawn(
                for_client.wrap_socket, client, server_hostname="localhost"
            )
            with for_server.wrap_socket(server, server_side=True) as secure:
                join(handshake)
                gevent.sleep(25 * SHORT)
                secure.sendall(b"hello")
                assert handshake.value.recv(100) == b"hello"
                handshake.value.close()

    in_greenlet(test)


def clients_hello(context: Any) -> bytes:
    """The first message of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("how", ["silent", "half", "byte by byte", "hello only"])
def test_a_handshake_that_takes_too_long(how: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The connection is closed, told once, and without a traceback; the next one is served."""

    def test() -> None:
        with Server(20 * SHORT) as server, server.connect() as sock:
            before = len(descriptors())
            hello = clients_hello(server.client_context)
            began = time.monotonic()

            def send() -> None:
                if how == "half":
                    sock.sendall(hello[: len(hello) // 2])
                elif how == "hello only":
                    sock.sendall(hello)
                elif how == "byte by byte":
                    for number in range(30):
                        sock.sendall(hello[number : number + 1])
                        gevent.sleep(SHORT)

            sender = gevent.spawn(send)
            while sock.recv(65536):
                pass  # what the server says of its own accord
            assert 19 * SHORT <= time.monotonic() - began < DEADLINE
            sender.kill()
            assert server.failures == ["not done after 0.6 seconds"]
            with (
                server.connect() as other,
                server.client_context.wrap_socket(other, server_hostname="localhost") as secure,
            ):
                assert secure.recv(100) == b"hello"
            wait_until(lambda: len(descriptors()) <= before)

    in_greenlet(test)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(b"GET / HTTP/1.1\r\n\r\n", "HTTP_REQUEST"), (b"\0" * 100, "SSL"), (b"", "EOF")],
)
def test_a_handshake_that_fails(
    sent: bytes, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Told with its reason, once; nothing stays open."""

    def test() -> None:
        with Server(LONG) as server:
            before = len(descriptors())
            with server.connect() as sock:
                sock.sendall(sent)
                sock.shutdown(gevent.socket.SHUT_WR)
                with contextlib.suppress(ConnectionError):
                    while sock.recv(65536):
                        pass
            wait_until(lambda: server.failures)
            (failure,) = server.failures
            assert reason.lower() in failure.lower()
            wait_until(lambda: len(descriptors()) <= before)

    in_greenlet(test)
    assert capfd.readouterr().err == ""
