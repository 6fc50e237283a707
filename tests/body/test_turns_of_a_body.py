"""Others run while a body is read: the turns that it takes."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import gevent.event
import pytest
from body_sources import BLOCK, SETTINGS, OnlyRead
from gevent.hub import get_hub
from greenlets import FOREVER, hub_scheduler, in_greenlet, join, wait_until
from sockets import socket_pair

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.body.sources import MOST_AT_ONCE, PieceSource, SocketSource
from cooperative_upload.settings import UploadSettings


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


@pytest.mark.skipif("libuv" in str(type(get_hub().loop)), reason="it does not tell its rounds")
def test_a_slow_client_takes_one_turn_for_a_read() -> None:
    """And not one for each packet that was waited for."""
    with hub_scheduler() as scheduler, socket_pair() as (client, server):
        body = CooperativeInput(SocketSource(server, b"", 50), 50, SETTINGS)
        reader = gevent.spawn(body.read)
        for number in range(50):
            client.sendall(b"x")
            wait_until(lambda: body.received > number)  # noqa: B023
        join(reader)
    assert reader.value == b"x" * 50
    assert scheduler.statistics().turns <= 2


def test_who_receives_at_once_behind_a_wait_takes_a_turn() -> None:
    """A client that begins slowly, and then has sent much, is no slow client."""
    with hub_scheduler() as scheduler, socket_pair() as (client, server):
        chunks = (server.recv(1) for _ in range(200))
        body = CooperativeInput(PieceSource(chunks), None, SETTINGS)
        reader = gevent.spawn(body.read)
        for number in range(5):
            client.sendall(b"x")
            wait_until(lambda: body.received > number)  # noqa: B023
        client.sendall(b"x" * 195)
        join(reader)
    assert reader.value == b"x" * 200
    assert scheduler.statistics().turns >= 190


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
