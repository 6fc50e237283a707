"""TlsRecords: what has come over TLS is taken together.

Bodies over TLS are among those of test_sources.py and test_body_over_tls.py.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable
from typing import Any

import gevent
import gevent.socket
import gunicorn
import pytest
from body_contract import pattern
from greenlets import hub_scheduler, in_greenlet, join, running
from gunicorn.workers.ggevent import GeventWorker
from sockets import Pair, body_from, socket_pair, tcp_pair, tls_pair
from worker_in_process import ADDRESS, WorkerInProcess, serve

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.body.sources import SocketSource
from cooperative_upload.body.tls_records import MOST_AT_ONCE, TlsRecords, taken_together

RECORD = 16 * 1024  # bytes that a client puts into one


class Records:
    """A server's TLS socket to which these records have come, and then that error.

    It stands for gevent's, whose recv_into waits, and for OpenSSL's object inside of it.
    """

    def __init__(self, *records: bytes, then: type[OSError] | OSError) -> None:
        self._records = list(records)
        self._then = then
        self._sslobj = self
        self.calls: list[str] = []

    def recv_into(self, buffer: memoryview, size: int) -> int:
        self.calls.append("wait")
        return self._next(size, buffer)

    def read(self, size: int, buffer: memoryview) -> int:
        self.calls.append("take")
        return self._next(size, buffer)

    def _next(self, size: int, buffer: memoryview) -> int:
        if not self._records:
            raise self._then
        record, rest = self._records[0][:size], self._records[0][size:]
        self._records[:1] = [rest] if rest else []
        buffer[: len(record)] = record
        return len(record)


def with_connection(test: Callable[[Any, Any], None]) -> None:
    """Run it with the client's and the server's end."""

    def run() -> None:
        with tls_pair() as (client, server):
            test(client, server)

    in_greenlet(run)


def test_one_receive_takes_all_records_that_have_come() -> None:
    """What the form parser asks for at once is four records and more."""
    data = pattern(64 * 1024)

    def test(client: Any, server: Any) -> None:
        client.sendall(data)
        source = body_from(server, b"", len(data))
        assert source.receive(len(data)) == data
        assert source.left == 0

    with_connection(test)


def test_what_has_come_is_not_kept_for_what_has_not() -> None:
    """More records may never come."""
    data = pattern(3 * RECORD)

    def test(client: Any, server: Any) -> None:
        client.sendall(data)
        source = body_from(server, b"", 1 << 20)
        assert source.receive(64 * 1024) == data
        assert source.left == (1 << 20) - len(data)

    with_connection(test)


def test_it_waits_for_the_first_byte_alone() -> None:
    """gevent's socket waits for it, with its time-out."""
    sock = Records(b"x" * RECORD, b"y" * 10, then=ssl.SSLWantReadError)
    source = SocketSource(TlsRecords(sock), b"", 1 << 20)
    assert source.receive(64 * 1024) == b"x" * RECORD + b"y" * 10
    assert sock.calls == ["wait", "take", "take"]


@pytest.mark.parametrize("size", [1, 100, RECORD, 50_000, 1 << 40])
def test_not_a_byte_behind_the_body_is_taken(size: int) -> None:
    """The next request is in the same record, and OpenSSL keeps it."""
    data = pattern(2 * RECORD + 1234)

    def test(client: Any, server: Any) -> None:
        client.sendall(data[7:] + b"GET /")
        source = body_from(server, data[:7], len(data))
        received = []
        while piece := source.receive(size):
            received.append(piece)
            assert len(piece) <= max(size, 7)
        assert b"".join(received) == data
        assert server.recv(100) == b"GET /"

    with_connection(test)


def test_two_uploads_that_wait_at_the_same_time() -> None:
    """They share the memory into which OpenSSL deciphers."""
    first, second = pattern(3 * RECORD), pattern(6 * RECORD)[3 * RECORD :]

    def test() -> None:
        with tls_pair() as (client, server), tls_pair() as (other_client, other_server):
            connections = ((client, server, first), (other_client, other_server, second))
            readers = []
            for _, end, data in connections:
                body = CooperativeInput(body_from(end, b"", len(data)), len(data))
                readers.append(gevent.spawn(body.read))
            for start in range(0, 3 * RECORD, 5000):
                for sender, _, data in connections:
                    sender.sendall(data[start : start + 5000])
                    gevent.sleep(0)
            join(*readers)
            assert [reader.value for reader in readers] == [first, second]

    with hub_scheduler():
        in_greenlet(test)


def test_a_receive_has_a_bound() -> None:
    """Also where the application wants everything: others are to have their turn."""
    sock = Records(*[bytes(RECORD)] * 100, then=ssl.SSLWantReadError)
    source = SocketSource(TlsRecords(sock), b"", 1 << 40)
    assert len(source.receive(1 << 40)) == MOST_AT_ONCE
    assert len(source.receive(1 << 40)) == MOST_AT_ONCE


def test_what_waits_to_be_written_is_waited_for_by_the_next() -> None:
    """A renegotiation, or an answer to a new key, that the client does not read."""
    sock = Records(b"x" * RECORD, then=ssl.SSLWantWriteError)
    source = SocketSource(TlsRecords(sock), b"", 1 << 20)
    assert source.receive(64 * 1024) == b"x" * RECORD
    with pytest.raises(ssl.SSLWantWriteError):  # gevent's socket waits
        source.receive(64 * 1024)
    assert sock.calls == ["wait", "take", "wait"]


@pytest.mark.parametrize(
    "error", [ssl.SSLError(1, "bad record mac"), OSError(errno.ECONNRESET, "Connection reset")]
)
def test_an_error_does_not_cost_what_came_before_it(error: OSError) -> None:
    """It is told at the next receive, and at each one after that."""
    sock = Records(b"x" * RECORD, b"y", then=error)
    source = SocketSource(TlsRecords(sock), b"", 1 << 20)
    assert source.receive(64 * 1024) == b"x" * RECORD + b"y"
    calls = len(sock.calls)
    for _ in range(2):
        with pytest.raises(OSError, match=str(error.strerror)) as caught:
            source.receive(64 * 1024)
        assert caught.value is error
    assert len(sock.calls) == calls, "OpenSSL forgets what it has told"


def end_tls(client: Any) -> None:
    """Both directions, as far as the client can."""
    client.settimeout(0)
    with pytest.raises(ssl.SSLWantReadError):
        client.unwrap()


def break_off(client: Any) -> None:
    """Without TLS's own end."""
    gevent.socket.socket(fileno=client.detach()).close()


@pytest.mark.parametrize("end", [end_tls, break_off])
def test_the_end_behind_what_came(end: Callable[[Any], None]) -> None:
    """However TLS ends, it is the end: b"", as often as it is asked for."""
    data = pattern(2 * RECORD)

    def test(client: Any, server: Any) -> None:
        client.sendall(data)
        end(client)
        source = body_from(server, b"", 1 << 20)
        assert source.receive(64 * 1024) == data
        assert [source.receive(100) for _ in range(3)] == [b""] * 3
        assert source.left == (1 << 20) - len(data)

    with_connection(test)


@pytest.mark.parametrize("pair", [tls_pair, tcp_pair, socket_pair])
def test_the_worker_takes_what_fits_the_connection(pair: Pair) -> None:
    """A plain socket gives all that has come in one call, and is received from itself."""
    data = pattern(100_000)
    receivers: list[Any] = []

    def application(request: Any) -> None:
        receivers.append(request.body._source._sock)
        assert request.body.read() == data

    def test() -> None:
        with pair() as (client, server), running(lambda: client.sendall(sent)):
            serve(server, application)
            assert (receivers == [server]) is (pair is not tls_pair)

    sent = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data)
    with hub_scheduler():
        in_greenlet(test)
    assert isinstance(receivers[0], TlsRecords) is (pair is tls_pair)


def test_a_reader_that_is_not_ours() -> None:
    """It gets records together as well, while the block runs, and up to the bound."""
    data = pattern(4 * RECORD)

    def test(client: Any, server: Any) -> None:
        client.sendall(data)
        with taken_together(server, 2 * RECORD):
            assert server.recv(1 << 20) == data[: 2 * RECORD]
            assert server.recv(100) == data[2 * RECORD :][:100]
        assert len(server.recv(1 << 20)) < RECORD

    with_connection(test)


def test_a_plain_socket_is_left_alone() -> None:
    """HTTP/2 without TLS: gunicorn's h2c."""
    with tcp_pair() as (_, server):
        its_own = server.recv
        with taken_together(server, 1000):
            assert server.recv == its_own


@pytest.mark.skipif(gunicorn.version_info < (27,), reason="gunicorn before 27 can't take it")
def test_http2_connections_receive_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many bytes as are read from the body in one go."""
    data = pattern(4 * RECORD)
    received: list[bytes] = []

    def handle(worker: Any, listener: Any, client: Any, addr: Any) -> None:
        received.append(client.recv(64 * 1024))

    def test(client: Any, server: Any) -> None:
        client.sendall(data)
        WorkerInProcess().handle_http2(None, server, ADDRESS)

    monkeypatch.setattr(GeventWorker, "handle_http2", handle)
    with_connection(test)
    assert received == [data[: 2 * RECORD]]
