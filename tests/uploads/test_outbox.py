"""What the application is told: at least once, in order for each upload, until it takes it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import gevent
import pytest
from greenlets import in_greenlet, wait_until
from memory_storage import MemoryStorage
from sqlalchemy import create_engine, update
from upload_services import body, service

from cooperative_upload.uploads import Creation, Hooks, Upload, UploadService
from cooperative_upload.uploads import outbox as module
from cooperative_upload.uploads.outbox import pause_after
from cooperative_upload.uploads.processes import name_of_process
from cooperative_upload.uploads.schema import outbox

ONE = Creation("me", size=1)


class Application:
    """Takes down what it is told; `fails` says how often it does not."""

    def __init__(self, fails: int = 0) -> None:
        self.told: list[tuple[str, str]] = []
        self.fails = fails

    def hooks(self) -> Hooks:
        return Hooks(
            ready=lambda upload: self._take("ready", upload),
            removed=lambda upload: self._take("removed", upload),
        )

    def _take(self, event: str, upload: Upload) -> None:
        self.told.append((event, upload.id))
        if self.fails:
            self.fails -= 1
            raise ValueError("not now")


def complete(uploads: UploadService) -> str:
    """The id of a new one that is ready."""
    return uploads.append(uploads.create(ONE).id, 0, body(b"x")).id


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """It is tried again soon; what fails is logged, and not shown."""
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.1)
    with caplog.at_level(logging.CRITICAL, "cooperative_upload"):
        yield


def test_beside_the_request(storage: MemoryStorage, database: str) -> None:
    """At once, with the upload as it was, and then no more."""
    application = Application()

    def test() -> None:
        with service(storage, database, application.hooks()) as uploads:
            id = complete(uploads)
            wait_until(lambda: application.told == [("ready", id)])
            uploads.delete(id)
            wait_until(lambda: application.told == [("ready", id), ("removed", id)])
            uploads.sweep()
            assert len(application.told) == 2

    in_greenlet(test)


def test_what_was_not_taken(storage: MemoryStorage, sqlite: str) -> None:
    """Again after a while; `removed` only behind it; other uploads are not held up."""
    application = Application(fails=3)

    def test() -> None:
        with service(storage, sqlite, application.hooks()) as uploads:
            id = complete(uploads)
            uploads.delete(id)
            wait_until(lambda: ("removed", id) in application.told)
            assert application.told == [*[("ready", id)] * 4, ("removed", id)]

    in_greenlet(test)


def test_others_are_not_held_up(storage: MemoryStorage, sqlite: str) -> None:
    """One that the application never takes keeps its own place alone."""
    never: list[str] = []
    told = []

    def ready(upload: Upload) -> None:
        if upload.id in never:
            raise ValueError("never")
        told.append(upload.id)

    def test() -> None:
        with service(storage, sqlite, Hooks(ready=ready)) as uploads:
            never.append(uploads.create(ONE).id)
            uploads.append(never[0], 0, body(b"x"))
            ids = [complete(uploads) for _ in range(3)]
            wait_until(lambda: told == ids)

    in_greenlet(test)


def test_a_process_that_died_with_it(storage: MemoryStorage, sqlite: str) -> None:
    """Another one tells it, once more."""
    silent = Hooks(ready=lambda upload: gevent.sleep(1000))
    application = Application()

    def test() -> None:
        with service(storage, sqlite, silent) as first:
            id = complete(first)
            gevent.sleep(0.1)
        # As if the first had been of a process that has ended since.
        engine = create_engine(sqlite)
        with engine.begin() as connection:
            gone = name_of_process().rsplit("/", 2)[0] + "/1/0"
            connection.execute(update(outbox).values(holder=gone))
        engine.dispose()
        with service(storage, sqlite, application.hooks()) as second:
            second.sweep()
            assert application.told == [("ready", id)]

    in_greenlet(test)


def test_a_clock_that_was_set_back(storage: MemoryStorage, sqlite: str) -> None:
    """Nothing waits for the old time to come again."""
    application = Application(fails=1)

    def test() -> None:
        with service(storage, sqlite, application.hooks()) as uploads:
            complete(uploads)
            wait_until(lambda: len(application.told) == 1)
            engine = create_engine(sqlite)
            in_a_month = update(outbox).values(due=time.time() + 30 * 24 * 3600)
            free = outbox.c.holder.is_(None)

            def set_back() -> int:
                with engine.begin() as connection:
                    return connection.execute(in_a_month.where(free)).rowcount

            wait_until(set_back)
            engine.dispose()
            uploads.sweep()
            wait_until(lambda: len(application.told) == 2)

    in_greenlet(test)


def test_pauses() -> None:
    """Twice as long each time, up to an hour, however often."""
    assert [pause_after(n) for n in (1, 2, 3)] == [0.1, 0.2, 0.4]
    assert pause_after(1000) == 3600
