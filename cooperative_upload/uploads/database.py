"""Database: short transactions, made by threads of their own while the loop goes on.

Its rules:

* A transaction does nothing but ask the database. It begins and ends in one call of a thread, so
  none is open while anybody is waited for, and a greenlet that is killed leaves none behind.
* It may be made twice. Where a connection breaks nobody knows whether it was committed, so it is
  tried again as a whole; what is given to write() has to bear that.
* What is busy or away is waited for outside of the thread and of the transaction, for
  `database_wait_seconds` in all; then OutOfReach is raised.

SQLite lets one connection write at a time, and waits for the disk at each commit. All writes of a
loop that come while it waits go into the next transaction together, each behind a savepoint of its
own, so that a hundred of them cost one wait and not a hundred. PostgreSQL does that by itself for
connections that commit at once: there each write has its own transaction, in one of
`database_threads`.

What need not survive a loss of power (who holds a lease) is committed without waiting for the
disk; it survives the end of every process all the same.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import gevent
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ..errors import SettingsError
from ..hub import current_hub
from ..settings import UploadSettings
from ..turns import current_clerks
from .refusals import OutOfReach
from .schema import bring_up_to_date

T = TypeVar("T")
Work = Callable[[Connection], T]

# Seconds between two tries: from about what a commit takes on a disk to what nobody notices.
_SHORTEST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1

# The most writes that share a commit: the last of them waits for the work of all.
_MOST_TOGETHER = 64

# Seconds for PostgreSQL to answer a new connection.
_CONNECT_SECONDS = 3

# SQLSTATEs after which the same transaction may succeed: deadlock, serialization.
_TRY_AGAIN = frozenset({"40P01", "40001"})


class _Unavailable(Exception):
    """The database did not do it, and may do it a little later."""


class Database:
    """Transactions on one database. One is made for each process, also before it forks.

    url: SQLAlchemy's.
    settings: how long is waited for it, and by how many threads it is asked.
    """

    def __init__(self, url: str, settings: UploadSettings) -> None:
        self._settings = settings
        self._engine = _engine(url)
        self.is_sqlite = self._engine.dialect.name == "sqlite"
        self._connections = _Connections(self._engine)
        self._up_to_date = False
        self._together: deque[_Write[Any]] = deque()

    def read(self, work: Work[T]) -> T:
        """What `work` returns of a connection on which it only reads."""
        found: T = self._with_patience("readers", self._read, work)
        return found

    def write(self, work: Work[T], *, durable: bool = True) -> T:
        """What `work` returns, after it was committed. It may be called more than once.

        durable: whether it has to survive a loss of power, too.
        """
        if self.is_sqlite:
            done: T = self._with_patience("writers", self._together_with, _Write(work, durable))
        else:
            done = self._with_patience("readers", self._write, work, durable)
        return done

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._connections.close()

    def _threads(self, purpose: str) -> Any:
        # SQLite has one writer, and reads from memory.
        threads = 1 if self.is_sqlite else self._settings.database_threads
        return current_clerks(purpose, threads, self._settings)

    def _with_patience(self, purpose: str, call: Callable[..., Any], *args: Any) -> Any:
        give_up = time.monotonic() + self._settings.database_wait_seconds
        pause = _SHORTEST_PAUSE
        while True:
            with _in_time(give_up - time.monotonic()):
                try:
                    return self._threads(purpose).start(call, *args).result()
                except _Unavailable as error:
                    unavailable = error
            if time.monotonic() + pause > give_up:
                raise OutOfReach() from unavailable
            _sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE)

    # From here on in a thread.

    def _read(self, work: Work[T]) -> T:
        with self._connection() as connection, connection.begin():
            return work(connection)

    def _write(self, work: Work[T], durable: bool) -> T:
        with self._connection() as connection, _writing(connection, durable):
            return work(connection)

    def _together_with(self, write: _Write[T]) -> T:
        """Do what is queued, this one or an earlier caller's with it."""
        if not write.queued:
            write.queued = True
            self._together.append(write)
        while not write.done:
            group = list(_taken(self._together, _MOST_TOGETHER))
            if not group:
                raise _Unavailable("the write is in another thread, which hangs")
            self._commit(group)
        return write.outcome()

    def _commit(self, group: list[_Write[Any]]) -> None:
        durable = any(write.durable for write in group)
        try:
            with self._connection() as connection, _writing(connection, durable):
                for write in group:
                    write.attempt(connection, alone=len(group) == 1)
        except _Undone:
            pass
        except BaseException:
            for write in group:
                write.queued = False
            raise
        for write in group:
            write.done = True

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection]:
        try:
            with self._connections.borrowed() as connection:
                self._bring_up_to_date(connection)
                yield connection
        except SQLAlchemyError as error:
            if not _may_pass(error):
                raise
            raise _Unavailable(str(error)) from error

    def _bring_up_to_date(self, connection: Connection) -> None:
        if not self._up_to_date:
            with _writing(connection, durable=True):
                bring_up_to_date(connection)
            self._up_to_date = True


class _Undone(Exception):
    """A write that is alone in its transaction failed by its own fault."""


class _Write(Generic[T]):
    """A write that waits for others to share its commit."""

    def __init__(self, work: Work[T], durable: bool) -> None:
        self._work = work
        self.durable = durable
        self.queued = False
        self.done = False
        self._value: Any = None
        self._error: Exception | None = None

    def attempt(self, connection: Connection, *, alone: bool) -> None:
        """Do it, or nothing of it: what it raises is its caller's alone."""
        self._value = self._error = None
        try:
            with contextlib.nullcontext() if alone else connection.begin_nested():
                self._value = self._work(connection)
        except Exception as error:
            if _may_pass(error):
                raise
            self._error = error
            if alone:
                raise _Undone() from error

    def outcome(self) -> T:
        if self._error is not None:
            raise self._error
        value: T = self._value
        return value


def _taken(queue: deque[Any], most: int) -> Iterator[Any]:
    with contextlib.suppress(IndexError):
        for _ in range(most):
            yield queue.popleft()


class _Connections:
    """Connections that are open and not in use; each process has its own.

    SQLAlchemy's pools keep locks, which gevent replaces, and wait in them, where the threads are
    the limit already.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._process = 0
        self._idle: list[Connection] = []

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[Connection]:
        """One that is in no transaction. After an error all are closed: it may be theirs too."""
        connection = self._take()
        try:
            yield connection
        except BaseException as error:
            if isinstance(error, DBAPIError):
                connection.invalidate()
                connection.close()
                self.close()
            else:
                self._idle.append(connection)
            raise
        self._idle.append(connection)

    def close(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> Connection:
        if self._process != os.getpid():
            # Those from before the fork are the parent's: to close one would end it there, too.
            self._process, self._idle = os.getpid(), []
        try:
            return self._idle.pop()
        except IndexError:
            return self._engine.connect()


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    arguments = dict(_ARGUMENTS.get(parsed.get_backend_name(), {}))
    if not arguments:
        raise SettingsError(
            f"the database of the uploads is SQLite or PostgreSQL, not {parsed.drivername!r}"
        )
    if "options" in arguments and "options" in parsed.query:
        arguments["options"] += f" {parsed.query['options']}"  # theirs win
    try:
        engine = create_engine(parsed, poolclass=NullPool, connect_args=arguments)
    except ImportError as error:
        raise SettingsError("PostgreSQL needs cooperative_upload[postgresql]") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


_ARGUMENTS: dict[str, dict[str, Any]] = {
    # What is locked is waited for here, and not by SQLite in a thread.
    "sqlite": {"timeout": 0, "check_same_thread": False},
    # A server that is gone without a word is noticed by TCP: in 10 seconds, not in 2 hours.
    "postgresql": {
        "connect_timeout": _CONNECT_SECONDS,
        "keepalives_idle": 5,
        "keepalives_interval": 1,
        "keepalives_count": 5,
        "tcp_user_timeout": 10_000,
        "options": "-c lock_timeout=2s -c statement_timeout=10s "
        "-c idle_in_transaction_session_timeout=10s",
    },
}


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where this module says
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.info.get("begin", "BEGIN"))


@contextlib.contextmanager
def _writing(connection: Connection, durable: bool) -> Iterator[None]:
    """A transaction that is going to write: SQLite then takes its lock at once, or is busy."""
    if connection.dialect.name != "sqlite":
        with connection.begin():
            if not durable:
                connection.execute(_NOT_WAITING)
            yield
        return
    if connection.info.get("durable", True) != durable:
        _driver(connection).execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        connection.info["durable"] = durable
    connection.info["begin"] = "BEGIN IMMEDIATE"
    try:
        with connection.begin():
            yield
    finally:
        connection.info.pop("begin", None)


_NOT_WAITING = text("SET LOCAL synchronous_commit TO OFF")


def _driver(connection: Connection) -> Any:
    """The driver's own connection, since SQLAlchemy's would begin a transaction."""
    return connection.connection.dbapi_connection


def _may_pass(error: Exception) -> bool:
    """Whether the database was busy or away, and not asked for what it can't do."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if getattr(getattr(error, "orig", None), "sqlstate", None) in _TRY_AGAIN:
        return True
    return isinstance(error, OperationalError | InterfaceError)


@contextlib.contextmanager
def _in_time(seconds: float) -> Iterator[None]:
    """Raise OutOfReach where the block takes longer; the thread goes on without us."""
    if current_hub() is None:
        yield
        return
    timeout = gevent.Timeout.start_new(max(seconds, 0.001))
    try:
        yield
    except gevent.Timeout as error:
        if error is not timeout:
            raise
        raise OutOfReach() from None
    finally:
        timeout.close()


def _sleep(seconds: float) -> None:
    if current_hub() is None:
        time.sleep(seconds)
    else:
        gevent.sleep(seconds)
