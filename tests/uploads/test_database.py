"""Short transactions on a database that is busy, away, back, shared, or too new."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import gevent
import pytest
from greenlets import in_greenlet, spinning, wait_until
from memory_storage import MemoryStorage
from postgresql import PostgreSQL
from sqlalchemy import Connection, insert, inspect, select, text, update
from sqlalchemy.exc import IntegrityError
from upload_services import body, service

from cooperative_upload.errors import SettingsError
from cooperative_upload.settings import UploadSettings
from cooperative_upload.uploads import Creation, OutOfReach
from cooperative_upload.uploads import metadata as tables
from cooperative_upload.uploads.database import Database
from cooperative_upload.uploads.schema import STEPS, duties, versions

T = TypeVar("T")


@pytest.fixture
def opened(database: str) -> Iterator[Database]:
    """On each database."""
    made = Database(database, UploadSettings(database_wait_seconds=20))
    yield made
    made.close()


@pytest.fixture
def on_sqlite(sqlite: str) -> Iterator[Database]:
    """On SQLite, with little patience."""
    made = Database(sqlite, UploadSettings(database_wait_seconds=0.3))
    yield made
    made.close()


def put(name: str) -> Callable[[Connection], str]:
    """Work that writes a row."""

    def work(connection: Connection) -> str:
        connection.execute(insert(duties).values(name=name))
        return name

    return work


def names(database: Database) -> list[str]:
    """The rows that are there."""
    query = select(duties.c.name).order_by(duties.c.name)
    return database.read(lambda connection: list(connection.scalars(query)))


class Oops(Exception):
    """What a work raises of its own."""


def test_many_at_once(opened: Database) -> None:
    """Each has its own outcome, also where some fail: what they did is undone, and that alone."""

    def fails(connection: Connection) -> None:
        put("undone")(connection)
        raise Oops

    def test() -> None:
        opened.write(put("there"))
        good = [gevent.spawn(opened.write, put(f"{number:02}")) for number in range(40)]
        bad = [gevent.spawn(_caught, opened, fails) for _ in range(5)]
        same = [gevent.spawn(_caught, opened, put("there")) for _ in range(5)]
        assert [one.get(timeout=20) for one in good] == [f"{number:02}" for number in range(40)]
        assert {type(one.get(timeout=20)) for one in bad} == {Oops}
        assert {type(one.get(timeout=20)) for one in same} == {IntegrityError}
        assert names(opened) == [*(f"{number:02}" for number in range(40)), "there"]

    in_greenlet(test)


def _caught(database: Database, work: Callable[[Connection], object]) -> Exception | None:
    try:
        database.write(work)
    except (Oops, IntegrityError) as error:
        return error
    return None


def test_the_loop_goes_on(opened: Database) -> None:
    """While a transaction takes its time."""

    def test() -> None:
        with spinning() as rounds:
            before = rounds.value
            opened.write(lambda connection: time.sleep(0.05))
            opened.read(lambda connection: time.sleep(0.05))
            assert rounds.value > before + 10

    in_greenlet(test)


def test_without_a_loop(opened: Database) -> None:
    """In the threads of another server."""
    threads = [
        threading.Thread(target=opened.write, args=[put(f"{number}")]) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert names(opened) == [str(number) for number in range(8)]


class TestLocked:
    """SQLite, while another process has its lock."""

    def test_it_is_waited_for(self, sqlite: str, tmp_path: Path) -> None:
        """Outside of the threads: the loop and the readers go on."""
        database = Database(sqlite, UploadSettings(database_wait_seconds=20))
        database.write(put("first"))
        other = sqlite3.connect(tmp_path / "uploads.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        def test() -> None:
            waiting = gevent.spawn(database.write, put("second"))
            gevent.sleep(0.05)
            assert names(database) == ["first"]
            assert not waiting.ready()
            other.execute("COMMIT")
            assert waiting.get(timeout=20) == "second"

        in_greenlet(test)
        other.close()
        database.close()

    def test_not_for_ever(self, on_sqlite: Database, tmp_path: Path) -> None:
        """A status can still be had; what writes is told to come again."""
        on_sqlite.write(put("first"))
        other = sqlite3.connect(tmp_path / "uploads.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        def test() -> None:
            with pytest.raises(OutOfReach) as caught:
                on_sqlite.write(put("second"))
            assert (caught.value.code, caught.value.retry_after) == (423, 1)
            assert names(on_sqlite) == ["first"]

        in_greenlet(test)
        other.close()
        in_greenlet(lambda: on_sqlite.write(put("third")))
        assert names(on_sqlite) == ["first", "third"]


def test_a_folder_that_is_not_there_yet(on_sqlite: Database, tmp_path: Path) -> None:
    """Out of reach, and back when it is."""
    settings = UploadSettings(database_wait_seconds=0.2)
    database = Database(f"sqlite:///{tmp_path}/later/uploads.db", settings)
    with pytest.raises(OutOfReach):
        database.write(put("x"))
    (tmp_path / "later").mkdir()
    assert database.write(put("x")) == "x"
    database.close()


def test_postgresql_gone_and_back(postgresql: PostgreSQL, storage: MemoryStorage) -> None:
    """It loses power, in the middle of an upload; nothing that was acknowledged is lost."""
    url = postgresql.new_database()
    data = bytes(range(200))

    def test() -> None:
        with service(storage, url, database_wait_seconds=0.5) as uploads:
            upload = uploads.create(Creation("me", size=200))
            assert uploads.append(upload.id, 0, body(data[:50])).offset == 50
            with postgresql.stopped():
                for ask in (uploads.status, uploads.settle):
                    with pytest.raises(OutOfReach):
                        ask(upload.id)
                with pytest.raises(OutOfReach):
                    uploads.append(upload.id, 50, body(data[50:100]))
                with pytest.raises(OutOfReach):
                    uploads.create(Creation("me", size=1))
            assert uploads.settle(upload.id).offset == 50
            assert uploads.append(upload.id, 50, body(data[50:])).ready
            assert uploads.open(upload.id).read() == data

    in_greenlet(test)


def test_postgresql_back_in_time(postgresql: PostgreSQL) -> None:
    """A restart is waited for, and nobody notices."""
    database = Database(postgresql.new_database(), UploadSettings(database_wait_seconds=30))

    def test() -> None:
        database.write(put("first"))
        with postgresql.stopped():
            waiting = gevent.spawn(database.write, put("second"))
            gevent.sleep(0.1)
        assert waiting.get(timeout=30) == "second"
        assert names(database) == ["first", "second"]

    in_greenlet(test)
    database.close()


class TestDurability:
    """What SQLite and PostgreSQL are asked for."""

    def test_of_sqlite(self, on_sqlite: Database) -> None:
        """Commits wait for the disk, but for those of leases."""

        def level(connection: Connection) -> object:
            return connection.scalar(text("PRAGMA synchronous"))

        full, normal = 2, 1
        for _ in range(2):
            assert on_sqlite.write(level) == full
            assert on_sqlite.write(level, durable=False) == normal
        assert on_sqlite.read(lambda c: c.scalar(text("PRAGMA journal_mode"))) == "wal"

    def test_of_postgresql(self, postgresql: PostgreSQL) -> None:
        """The same."""
        database = Database(postgresql.new_database(), UploadSettings())

        def level(connection: Connection) -> object:
            return connection.scalar(text("SHOW synchronous_commit"))

        for _ in range(2):
            assert database.write(level) == "on"
            assert database.write(level, durable=False) == "off"
        database.close()


class TestSchema:
    """Tables are made by whoever comes first, and looked at by Alembic."""

    def test_workers_that_start_together(self, database: str) -> None:
        """One makes the tables, the others wait for it."""
        made = [Database(database, UploadSettings(database_wait_seconds=20)) for _ in range(6)]

        def test() -> None:
            written = [gevent.spawn(one.write, put(str(n))) for n, one in enumerate(made)]
            gevent.joinall(written, raise_error=True)
            assert names(made[0]) == list("012345")

        in_greenlet(test)
        for one in made:
            one.close()

    def test_metadata_is_what_is_there(self, opened: Database) -> None:
        """Every table and column, by the names in `metadata`."""

        def look(connection: Connection) -> dict[str, set[str]]:
            inspector = inspect(connection)
            return {
                name: {column["name"] for column in inspector.get_columns(name)}
                for name in tables.tables
            }

        found = opened.read(look)
        wanted = {name: set(table.columns.keys()) for name, table in tables.tables.items()}
        assert found == wanted

    def test_tables_of_a_newer_version(self, sqlite: str) -> None:
        """Nobody writes to what it does not know."""
        newer = Database(sqlite, UploadSettings())
        newer.write(lambda c: c.execute(insert(versions).values(version=len(STEPS) + 1)))
        newer.close()
        older = Database(sqlite, UploadSettings())
        with pytest.raises(RuntimeError, match=f"version {len(STEPS) + 1}"):
            older.write(put("x"))
        older.close()


@pytest.mark.parametrize("url", ["mysql://x/y", "oracle://x"])
def test_other_databases(url: str) -> None:
    """Named at the start, and not by what fails later."""
    with pytest.raises(SettingsError, match="SQLite or PostgreSQL"):
        Database(url, UploadSettings())


def test_a_write_that_was_committed_unheard(opened: Database) -> None:
    """The greenlet that asked was killed: it happens, or not, and the next one is not harmed."""

    def slow(connection: Connection) -> None:
        put("unheard")(connection)
        time.sleep(0.1)

    def test() -> None:
        killed = gevent.spawn(opened.write, slow)
        gevent.sleep(0.05)
        killed.kill()
        opened.write(lambda c: c.execute(update(duties).values(holder="x")))
        wait_until(lambda: names(opened) == ["unheard"])

    in_greenlet(test)
