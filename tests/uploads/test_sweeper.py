"""What is abandoned ends, what was left behind is finished, and nothing else is touched."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import gevent
import pytest
from greenlets import in_greenlet, wait_until
from memory_storage import MemoryStorage
from sqlalchemy import create_engine, update
from upload_services import ArrivingSource, body, service

from cooperative_upload.body import CooperativeInput
from cooperative_upload.errors import StorageUnavailable
from cooperative_upload.uploads import (
    Creation,
    Hooks,
    Limits,
    NoSuchUpload,
    NotReadyYet,
    State,
)
from cooperative_upload.uploads.processes import name_of_process
from cooperative_upload.uploads.schema import uploads as table

TEN = Creation("me", size=10, limits=Limits(owner_bytes=10))


def change(database: str, **values: object) -> None:
    """Every row, as somebody else left it."""
    engine = create_engine(database.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(update(table).values(values))
    engine.dispose()


def test_abandoned_ones_expire(storage: MemoryStorage, database: str) -> None:
    """With their bytes and their reservation; the application is told."""
    removed: list[str] = []
    hooks = Hooks(removed=lambda upload: removed.append(upload.id))

    def test() -> None:
        with service(storage, database, hooks, upload_expire_seconds=60) as uploads:
            upload = uploads.create(TEN)
            uploads.append(upload.id, 0, body(b"12345"))
            uploads.sweep()
            assert uploads.status(upload.id).offset == 5
            change(database, expires=time.time() - 1)
            uploads.sweep()
            with pytest.raises(NoSuchUpload):
                uploads.status(upload.id)
            wait_until(lambda: removed == [upload.id])
            uploads.create(TEN)

    in_greenlet(test)
    assert len(storage.writings) == 1


def test_ready_ones_stay(storage: MemoryStorage, sqlite: str) -> None:
    """And so do parts of one; a part of none does not."""

    def test() -> None:
        with service(storage, sqlite, upload_expire_seconds=1) as uploads:
            whole = uploads.append(uploads.create(Creation("me", size=1)).id, 0, body(b"x"))
            parts = []
            for _ in range(2):
                part = uploads.create(Creation("me", size=1, partial=True))
                parts.append(uploads.append(part.id, 0, body(b"y")).id)
            joined = uploads.concatenate(Creation("me"), parts[:1])
            gevent.sleep(1.1)
            uploads.sweep()
            assert uploads.open(whole.id).read() == b"x"
            assert uploads.open(joined.id).read() == b"y"
            with pytest.raises(NoSuchUpload):
                uploads.status(parts[1])

    in_greenlet(test)
    assert sorted(storage.objects.values()) == [b"x", b"y"]


def test_a_removal_that_was_cut(storage: MemoryStorage, sqlite: str) -> None:
    """Whoever asks is told that it is gone, and the next round removes it."""

    def test() -> None:
        with service(storage, sqlite) as uploads:
            upload = uploads.append(uploads.create(TEN).id, 0, body(b"0123456789"))
            storage.fails["delete"] = StorageUnavailable(OSError(5, "away"))
            with pytest.raises(StorageUnavailable):
                uploads.delete(upload.id)
            with pytest.raises(Exception, match="gone"):
                uploads.settle(upload.id)
            uploads.sweep()  # the storage is still away
            storage.fails.clear()
            uploads.sweep()
            with pytest.raises(NoSuchUpload):
                uploads.settle(upload.id)

    in_greenlet(test)
    assert not storage.objects


@pytest.mark.parametrize("state", [State.RECEIVED, State.CHECKING])
def test_what_a_killed_worker_left(storage: MemoryStorage, sqlite: str, state: State) -> None:
    """All its bytes are there: it is finished, also if no client ever comes back."""
    gone = name_of_process().rsplit("/", 2)[0] + "/1/0"
    ready: list[str] = []

    def test() -> None:
        with service(storage, sqlite) as uploads:
            upload = uploads.create(TEN)
            uploads.append(upload.id, 0, body(b"0123456789"), last=False)
        change(sqlite, state=state.value, holder=gone, placing=True)
        with service(storage, sqlite, Hooks(ready=lambda one: ready.append(one.id))) as uploads:
            uploads.sweep()
            assert uploads.status(upload.id).ready
            wait_until(lambda: ready == [upload.id])

    in_greenlet(test)


def test_what_another_worker_checks(storage: MemoryStorage, database: str) -> None:
    """It is left alone while that one lives: here one of another machine, as long as it beats."""
    change_holder: Callable[..., None] = change

    def test() -> None:
        with service(storage, database) as uploads:
            upload = uploads.create(TEN)
            uploads.append(upload.id, 0, body(b"0123456789"), last=False)
            change_holder(database, state="checking", holder="elsewhere/1/2", placing=True)
            beats = iter(range(1000))
            uploads._registry.beats_of = lambda process: next(beats)  # type: ignore
            with pytest.raises(NotReadyYet):
                uploads.settle(upload.id)
            uploads.sweep()
            assert uploads.status(upload.id).state is State.CHECKING
            uploads._registry.beats_of = lambda process: 1000  # type: ignore
            with pytest.raises(NotReadyYet):
                uploads.settle(upload.id)
            moment = time.monotonic() - 60
            uploads._leases._beats_of["elsewhere/1/2"] = (1000, moment)
            assert uploads.settle(upload.id).ready

    in_greenlet(test)


def test_orphans(storage: MemoryStorage, sqlite: str) -> None:
    """Writings that nobody has: their creation was cut."""

    def test() -> None:
        with service(storage, sqlite) as uploads:
            upload = uploads.create(TEN)
            storage.begin("nobody's")
            uploads._sweeper.remove_orphans(timedelta(0))
            assert [one.key for one in storage.writings.values()] == [upload.id]

    in_greenlet(test)


def test_one_process_sweeps_for_all(storage: MemoryStorage, database: str) -> None:
    """The one that has the duty; here both are in one, so it is taken from another machine's."""

    def test() -> None:
        with service(storage, database) as uploads:
            registry = uploads._registry
            assert registry.take_duty("sweep", "a", lambda name: False)
            assert registry.take_duty("sweep", "a", lambda name: False)
            assert not registry.take_duty("sweep", "b", lambda name: False)
            assert registry.take_duty("sweep", "b", lambda name: name == "a")
            assert not registry.take_duty("sweep", "a", lambda name: False)

    in_greenlet(test)


def test_in_the_background(storage: MemoryStorage, sqlite: str) -> None:
    """It begins with the first upload that a process creates."""

    def test() -> None:
        settings = {"upload_sweep_seconds": 0.1, "upload_expire_seconds": 1}
        with service(storage, sqlite, **settings) as uploads:  # type: ignore[arg-type]
            uploads.create(TEN)
            wait_until(lambda: not storage.writings)

    in_greenlet(test)


def test_a_slow_client_does_not_expire(storage: MemoryStorage, sqlite: str) -> None:
    """Each commit on the way puts it off."""

    def test() -> None:
        with service(storage, sqlite, upload_commit_seconds=0.1) as uploads:
            upload = uploads.create(Creation("me", size=100))
            assert upload.expires is not None
            source = ArrivingSource(*([b"x"] * 90))
            receive = source.receive
            source.receive = lambda size: (gevent.sleep(0.05), receive(size))[1]  # type: ignore
            slow = gevent.spawn(uploads.append, upload.id, 0, CooperativeInput(source, 100))
            wait_until(lambda: uploads.status(upload.id).offset > 5)
            assert (uploads.status(upload.id).expires or 0) > upload.expires
            slow.kill()

    in_greenlet(test)


def test_processes_that_have_ended_are_forgotten(storage: MemoryStorage, sqlite: str) -> None:
    """A restart a day leaves no thousand rows behind."""

    def test() -> None:
        with service(storage, sqlite) as uploads:
            here = name_of_process()
            gone = here.rsplit("/", 2)[0] + "/1/0"
            uploads._registry.beat(gone)
            uploads._registry.beat("elsewhere/1/2")
            uploads.finish(uploads.create(Creation("me", size=0)).id)
            uploads.sweep()
            assert sorted(uploads._registry.processes()) == sorted(["elsewhere/1/2", here])

    in_greenlet(test)
