"""Lingering: a connection whose client still sends is closed so that it gets its response."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from counters import Counted
from greenlets import DEADLINE, hub_scheduler, in_greenlet, join, running, wait_until
from sockets import Pair, socket_pair, tcp_pair, tls_pair

from cooperative_upload.exchange.lingering import Lingering
from cooperative_upload.settings import UploadSettings
from cooperative_upload.turns.scheduler import Scheduler

RESPONSE = b"HTTP/1.1 413 Request Entity Too Large\r\nConnection: close\r\n\r\n"

# Seconds. The long one is never reached, the short one is waited for.
LONG = 2 * DEADLINE
SHORT = 0.03


def patient(**values: Any) -> UploadSettings:
    """Settings by which nothing ends because of the time, but for what is given."""
    return UploadSettings(**{"lingering_seconds": LONG, "lingering_idle_seconds": LONG, **values})


@pytest.fixture(autouse=True)
def own_scheduler() -> Iterator[Scheduler]:
    """A new one for each test; nobody is left in line."""
    with hub_scheduler() as scheduler:
        yield scheduler


@pytest.fixture
def counted() -> Counted:
    """What the test adds to the counters."""
    return Counted()


def tls_over_tcp() -> contextlib.AbstractContextManager[tuple[Any, Any]]:
    return tls_pair(tcp_pair)


PAIRS = [socket_pair, tcp_pair, tls_over_tcp]


def sending(sock: Any, size: int = 1 << 40) -> Callable[[], None]:
    """Sends so many bytes, unless the connection breaks before."""

    def send() -> None:
        left = size
        with contextlib.suppress(OSError):
            while left > 0:
                block = min(left, 65536)
                sock.sendall(bytes(block))
                left -= block

    return send


def all_of(sock: Any) -> bytes:
    """What can be read from a socket up to its end."""
    return b"".join(iter(lambda: sock.recv(65536), b""))


@pytest.mark.parametrize("pair", PAIRS)
def test_the_client_gets_the_response_while_it_sends(pair: Pair, counted: Counted) -> None:
    """Whole, and then the end, however much of the request it sends before it looks."""
    size = 5_000_000

    def test() -> None:
        with pair() as (client, server):
            server.sendall(RESPONSE)
            lingering = gevent.spawn(Lingering(patient()).close, server)
            sending(client, size)()
            assert not lingering.ready()
            assert all_of(client) == RESPONSE
            client.close()
            join(lingering)
            server.close()

    in_greenlet(test)
    found = counted.so_far()
    assert found.pop("lingered") == 1
    discarded = found.pop("lingered_bytes")
    assert discarded == found.pop("bytes")
    if pair is tls_over_tcp:  # whose records are not taken apart
        assert 0.99 * size < discarded < 1.1 * size
    else:
        assert discarded == size
    assert found == {}


def test_without_it_the_response_is_lost() -> None:
    """The reason for all this: to close a socket with unread data resets the connection."""

    def test() -> None:
        with tcp_pair() as (client, server):
            client.sendall(bytes(1000))
            wait_until(lambda: server.recv(1, socket.MSG_PEEK))
            server.sendall(RESPONSE)
            server.close()
            with pytest.raises(ConnectionResetError):
                all_of(client)

    in_greenlet(test)


@pytest.mark.parametrize("pair", [socket_pair, tcp_pair])
def test_it_ends_where_the_body_does(pair: Pair, counted: Counted) -> None:
    """Behind the announced bytes nothing is waited for, although the client stays."""

    def test() -> None:
        with pair() as (client, server):
            lingering = gevent.spawn(Lingering(patient()).close, server, 1000)
            client.sendall(bytes(999))
            wait_until(lambda: counted.so_far().get("lingered_bytes") == 999)
            gevent.sleep(0.002)
            assert not lingering.ready()
            client.sendall(b"x")
            join(lingering)

    in_greenlet(test)
    assert counted.so_far() == {"lingered": 1, "lingered_bytes": 1000, "bytes": 1000}


def test_nothing_to_come() -> None:
    """The sending side is closed, and nobody waits."""

    def test() -> None:
        with tcp_pair() as (client, server):
            Lingering(patient()).close(server, 0)
            assert all_of(client) == b""

    in_greenlet(test)


@pytest.mark.parametrize("pair", PAIRS)
def test_an_idle_client(pair: Pair, counted: Counted) -> None:
    """It has had its time."""

    def test() -> None:
        with pair() as (_, server):
            began = time.monotonic()
            Lingering(patient(lingering_idle_seconds=SHORT)).close(server, 1 << 20)
            assert SHORT <= time.monotonic() - began < DEADLINE

    in_greenlet(test)
    assert counted.so_far() == {"lingered": 1, "lingering_cut": 1}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("by", ["setting", "argument"])
def test_a_client_that_never_ends(pair: Pair, by: str, counted: Counted) -> None:
    """The time is bounded also for one that sends all the while."""

    def test() -> None:
        settings = patient(lingering_seconds=LONG if by == "argument" else SHORT)
        seconds = SHORT if by == "argument" else None
        with pair() as (client, server), running(sending(client)):
            began = time.monotonic()
            Lingering(settings).close(server, None, seconds)
            assert SHORT <= time.monotonic() - began < DEADLINE
            server.close()

    in_greenlet(test)
    found = counted.so_far()
    assert (found["lingered"], found["lingering_cut"]) == (1, 1)
    assert found["lingered_bytes"] > 0
    assert "lingering" not in found


def test_trickling_is_not_idle_and_bounded_all_the_same(counted: Counted) -> None:
    """A byte now and then keeps no connection longer than the whole time."""
    seconds = 1.0

    def test() -> None:
        settings = patient(lingering_seconds=seconds, lingering_idle_seconds=seconds / 2)
        with tcp_pair() as (client, server):

            def trickle() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        client.sendall(b"x")
                        gevent.sleep(seconds / 50)

            with running(trickle):
                began = time.monotonic()
                Lingering(settings).close(server)
                assert time.monotonic() - began >= seconds

    in_greenlet(test)
    assert counted.so_far()["lingering_cut"] == 1


@pytest.mark.parametrize("pair", PAIRS)
def test_one_too_many_ends_the_oldest(pair: Pair, counted: Counted) -> None:
    """In the order in which they began; each is counted once, and the others go on."""

    def test() -> None:
        lingering = Lingering(patient(lingering_connections=2))
        with contextlib.ExitStack() as stack:
            pairs = [stack.enter_context(pair()) for _ in range(5)]
            ended: list[int] = []

            def linger(number: int) -> None:
                lingering.close(pairs[number][1])
                ended.append(number)

            greenlets = []
            for number in range(5):
                greenlets.append(gevent.spawn(linger, number))
                gevent.sleep(0)
                assert counted.so_far()["lingered"] == number + 1
                join(*greenlets[: max(0, number - 1)])
                assert counted.so_far()["lingering"] == min(number + 1, 2)
            assert ended == [0, 1, 2]
            for client, _ in pairs[3:]:
                client.close()
            join(*greenlets)

    in_greenlet(test)
    assert counted.so_far() == {"lingered": 5, "lingering_cut": 3} | {
        name: number for name, number in counted.so_far().items() if name.endswith("bytes")
    }


def test_a_busy_one_is_cut_too() -> None:
    """Data that waits to be read does not keep it."""

    def test() -> None:
        lingering = Lingering(patient(lingering_connections=1))
        with tcp_pair() as (client, server), tcp_pair() as (other, second):
            sender = gevent.spawn(sending(client))
            first = gevent.spawn(lingering.close, server)
            gevent.sleep(0.01)
            assert not first.ready()
            last = gevent.spawn(lingering.close, second)
            join(first)
            other.close()
            join(last)
            server.close()
            join(sender)

    in_greenlet(test)


def test_the_sending_side_ends_at_once() -> None:
    """A client that waits for the end of the response has not to wait for anything else."""

    def test() -> None:
        for pair in PAIRS:
            with pair() as (client, server):
                server.sendall(RESPONSE)
                lingering = gevent.spawn(Lingering(patient()).close, server)
                assert all_of(client) == RESPONSE
                client.close()
                join(lingering)

    in_greenlet(test)


def test_tls_ends_with_its_own_end() -> None:
    """close_notify comes before the end of the connection, so that nothing looks cut off."""

    def test() -> None:
        with tls_over_tcp() as (client, server):
            client.suppress_ragged_eofs = False  # the end of the connection alone would raise
            client.sendall(bytes(100_000))  # what is unread must not get in the way of it
            server.sendall(RESPONSE)
            with running(lambda: Lingering(patient()).close(server)):
                assert all_of(client) == RESPONSE
                client.sendall(bytes(100_000))  # RFC 8446: the other direction goes on

    in_greenlet(test)


def test_tls_that_is_just_closed_looks_cut_off() -> None:
    """What the test above would see without it."""

    def test() -> None:
        with tls_over_tcp() as (client, server):
            client.suppress_ragged_eofs = False
            server.close()
            with pytest.raises(ssl.SSLError):
                all_of(client)

    in_greenlet(test)


def test_tls_has_no_end_of_the_body() -> None:
    """Bytes on the wire are not those of the body: to_come says nothing, the client's end does."""

    def test() -> None:
        with tls_over_tcp() as (client, server):
            lingering = gevent.spawn(Lingering(patient()).close, server, 1000)
            gevent.sleep(0.01)
            client.sendall(bytes(1000))
            gevent.sleep(0.01)
            assert not lingering.ready()
            client.close()
            join(lingering)

    in_greenlet(test)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("state", ["client gone", "client reset", "closed", "shut"])
def test_no_error_of_the_connection_comes_out(pair: Pair, state: str, counted: Counted) -> None:
    """Whatever it is in already."""

    def test() -> None:
        with pair() as (client, server):
            if state == "client gone":
                client.close()
            elif state == "client reset":
                server.sendall(RESPONSE)  # closing a socket with unread data resets
                client.close()
            elif state == "closed":
                server.close()
            else:
                server.shutdown(socket.SHUT_RDWR)
            Lingering(patient()).close(server)

    in_greenlet(test)
    found = counted.so_far()
    assert found.pop("lingered") == 1
    assert "lingering" not in found
    assert "lingering_cut" not in found


def test_killed_while_it_lingers(counted: Counted) -> None:
    """Its place is free again."""

    def test() -> None:
        lingering = Lingering(patient(lingering_connections=1))
        for _ in range(3):
            with tcp_pair() as (_, server):
                waiting = gevent.spawn(lingering.close, server)
                wait_until(lambda: counted.so_far().get("lingering") == 1)
                waiting.kill()
                join(waiting)

    in_greenlet(test)
    assert counted.so_far() == {"lingered": 3}


def test_others_run_while_it_discards(own_scheduler: Scheduler, counted: Counted) -> None:
    """What has come already is not thrown away in one go: a turn for each piece."""

    def test() -> None:
        with tcp_pair() as (client, server):
            client.settimeout(SHORT)
            with contextlib.suppress(TimeoutError):
                while True:
                    client.sendall(bytes(65536))
            client.close()
            Lingering(patient()).close(server)

    in_greenlet(test)
    assert own_scheduler.statistics().turns >= counted.so_far()["lingered_bytes"] // 65536 > 5
