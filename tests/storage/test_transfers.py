"""Transfers: several parts at once, in a fair line, within the budget; ended with who sends."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from disk import open_files
from gevent.event import Event
from greenlets import in_greenlet, join, running, wait_until
from remote_store import StoreInMemory
from spools import content

from cooperative_upload.errors import AlreadyStored, FileTooLarge, StorageUnavailable
from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool.budgets import Budget
from cooperative_upload.storage import transfers
from cooperative_upload.storage.contract import Description
from cooperative_upload.storage.piece_writer import Piece
from cooperative_upload.storage.remote_deposit import RemoteDeposit

PART = 100_000
Run = Callable[[Callable[[], Any]], Any]
runs = pytest.mark.parametrize("run", [in_greenlet, lambda function: function()])


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> Budget:
    """A budget of its own for each test, which has all back in the end."""
    budget = Budget(1 << 20)
    monkeypatch.setattr(transfers, "_memory_of_process", budget)
    monkeypatch.delitem(gevent.get_hub().__dict__, transfers._ATTRIBUTE, raising=False)
    return budget


def deposit(
    store: StoreInMemory, key: str = "key", size: int | None = None, **settings: Any
) -> RemoteDeposit:
    return RemoteDeposit(store, key, size, Description(), UploadSettings(**settings))


def written(made: RemoteDeposit, data: bytes, block: int = 30_000) -> RemoteDeposit:
    for at in range(0, len(data), block):
        made.write(data[at : at + block])
    return made


@runs
@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART, 5 * PART + 7])
def test_a_deposit_is_what_was_written(run: Run, size: int, memory: Budget) -> None:
    store = StoreInMemory(PART)
    data = content(size)

    def make() -> None:
        with deposit(store, size=size) as made:
            written(made, data)
            stored = made.commit()
            assert made.commit() is stored
            assert stored.size == size

    run(make)
    assert store.objects == {"key": data}
    assert store.begun == (size >= PART)
    assert store.writings == {}
    wait_until(lambda: memory.taken == 0)


@runs
@pytest.mark.parametrize("size", [10, 5 * PART])
def test_without_a_commit_nothing_is_left(run: Run, size: int, memory: Budget) -> None:
    store = StoreInMemory(PART)

    def make() -> None:
        with deposit(store) as made:
            written(made, bytes(size))

    run(make)
    wait_until(lambda: not store.writings and not memory.taken)
    assert store.objects == {}
    assert store.begun == (size > PART)


@pytest.mark.parametrize("size", [10, 5 * PART])
def test_what_is_there_is_not_replaced_unless_it_is_asked_for(size: int) -> None:
    store = StoreInMemory(PART)
    store.objects["key"] = b"first"

    def make(overwrite: bool) -> None:
        with deposit(store) as made:
            written(made, bytes(size)).commit(overwrite=overwrite)

    with pytest.raises(AlreadyStored):
        in_greenlet(lambda: make(False))
    wait_until(lambda: not store.writings)
    assert store.objects["key"] == b"first"
    in_greenlet(lambda: make(True))
    assert store.objects["key"] == bytes(size)


def test_a_size_that_was_not_kept_to_is_told_at_the_commit() -> None:
    store = StoreInMemory(PART)
    with deposit(store, size=11) as made:
        made.write(bytes(10))
        for _ in range(2):  # failed once, it stays failed
            with pytest.raises(ValueError, match="10 bytes were written of 11"):
                made.commit()
    assert store.objects == {}


def test_more_than_the_parts_can_hold_is_refused() -> None:
    made = deposit(StoreInMemory(10))
    with made, pytest.raises(FileTooLarge):
        made.write(bytes(10_001))


def test_several_parts_are_under_way_and_no_more_than_the_bound() -> None:
    store = StoreInMemory(PART, lambda piece: gevent.sleep(0.001))
    in_greenlet(lambda: written(deposit(store), content(20 * PART)).commit())
    assert store.objects == {"key": content(20 * PART)}
    assert store.most_sending == 4


def test_an_upload_waits_for_its_own_parts_before_it_goes_to_disk(
    memory: Budget, tmp_path: Path
) -> None:
    """At the pace of the store, where the client is faster."""
    files: list[int] = []

    def when_sent(piece: Piece) -> None:
        gevent.sleep(0.001)
        files.append(open_files(tmp_path))

    store = StoreInMemory(400_000, when_sent)  # two of them and a half are the budget
    made = deposit(store, spool_directory=str(tmp_path))
    in_greenlet(lambda: written(made, content(4_000_000)).commit())
    assert store.objects == {"key": content(4_000_000)}
    assert store.most_sending == 2
    assert set(files) == {0}


def test_all_uploads_of_a_worker_share_its_connections() -> None:
    store = StoreInMemory(PART, lambda piece: gevent.sleep(0.001))

    def upload(number: int) -> None:
        made = deposit(store, f"key {number}", storage_connections=3)
        written(made, bytes(4 * PART)).commit()

    join(*(gevent.spawn(upload, number) for number in range(5)))
    assert store.most_sending == 3
    assert len(store.objects) == 5


def test_the_first_error_of_any_part_stops_the_writer(memory: Budget) -> None:
    def fail(piece: Piece) -> None:
        if piece.number == 2:
            raise StorageUnavailable(OSError(5, "away"))

    store = StoreInMemory(PART, fail)

    def make() -> None:
        with deposit(store) as made:
            with pytest.raises(StorageUnavailable, match="away"):
                written(made, bytes(100 * PART))
            with pytest.raises(StorageUnavailable, match="away"):
                made.write(b"more")
            with pytest.raises(StorageUnavailable, match="away"):
                made.commit()

    in_greenlet(make)
    wait_until(lambda: not store.writings and not memory.taken)
    assert store.objects == {}


@pytest.mark.parametrize("written_parts", [1, 3, 6])
def test_a_killed_request_leaves_nothing(written_parts: int, memory: Budget) -> None:
    """Killed while parts are collected, wait for a place, are sent, or hold up the writer."""
    held = Event()
    store = StoreInMemory(PART, lambda piece: held.wait())

    def upload() -> None:
        with deposit(store, storage_connections=2) as made:
            written(made, bytes(written_parts * PART + 10_000))
            held.wait()

    with running(upload):
        wait_until(lambda: store.sending == min(written_parts, 2))
    wait_until(lambda: not store.writings and not memory.taken and not store.sending)
    # The places are free again, too.
    held.set()
    in_greenlet(lambda: written(deposit(store, "next"), bytes(9 * PART)).commit())
    assert list(store.objects) == ["next"]


def test_one_that_is_killed_while_it_begins_leaves_nothing() -> None:
    going_on = Event()
    ended: list[Any] = []

    class Slow(StoreInMemory):
        def begin(self, *args: Any, **more: Any) -> Any:
            going_on.wait()
            return super().begin(*args, **more)

        def abort(self, token: Any) -> None:
            super().abort(token)
            ended.append(token)

    store = Slow(PART)

    def upload() -> None:
        with deposit(store) as made:
            written(made, bytes(2 * PART)).commit()

    with running(upload):
        gevent.sleep(0.01)
    going_on.set()
    wait_until(lambda: ended)
    assert ended == [{"key": "key", "number": 1}]
    assert not store.writings
    assert not store.objects


def test_many_slow_clients_leave_room_for_a_fast_one(memory: Budget, tmp_path: Path) -> None:
    """300 hold all of the budget, and half a part each; a fast one goes by way of the disk."""
    budget = 1 << 20
    store = StoreInMemory(PART)
    settings: dict[str, Any] = {"spool_directory": str(tmp_path), "spool_worker_files": 1000}
    full = Event()
    block = 10_000

    def trickle(number: int) -> None:
        with deposit(store, f"slow {number}", **settings) as made:
            for _ in range(5):
                made.write(bytes([number % 256]) * block)
                assert memory.taken <= budget
                gevent.sleep(0)
            full.wait()
            made.commit()

    def fast() -> None:
        with deposit(store, "fast", **settings) as made:
            written(made, content(30 * PART))
            assert memory.taken <= budget
            made.commit()

    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        slow = [gevent.spawn(trickle, number) for number in range(300)]
        wait_until(lambda: open_files(tmp_path) > 200)
        in_greenlet(fast)
        store.objects.pop("fast")
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert store.objects == {}
    # What is not within the budget: greenlets, buffers, and a block for each that is written.
    assert held < budget + 300 * 30_000
    full.set()
    join(*slow)
    assert len(store.objects) == 300
    assert store.objects["slow 299"] == bytes([299 % 256]) * 5 * block
    wait_until(lambda: memory.taken == 0 and open_files(tmp_path) == 0)
