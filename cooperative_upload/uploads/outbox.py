"""The outbox: what the application is to be told, until it has taken it.

An event is written in the transaction that made it true, so it is neither lost nor told of what
never happened. It is told at least once, since a process can be killed between the telling and the
note of it; events of one upload are told in their order, and the next only when the one before was
taken. What a hook raises is logged, and it is called again: after a second, then after twice as
long each time, up to an hour.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from .database import Database
from .leases import Leases
from .record import Upload
from .registry import Event
from .rows import upload_of
from .schema import outbox

# Seconds.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 3600.0

_AT_ONCE = 100

_log = logging.getLogger("cooperative_upload")


@dataclass(frozen=True)
class _Event:
    number: int
    name: Event
    upload: Upload
    attempts: int


def pause_after(attempts: int) -> float:
    """Seconds until it is tried again."""
    return min(_FIRST_PAUSE * 2.0 ** min(attempts - 1, 30), _LONGEST_PAUSE)


class Outbox:
    """Tells the application.

    hooks: by the names of the events.
    """

    def __init__(
        self,
        database: Database,
        leases: Leases,
        hooks: Mapping[Event, Callable[[Upload], object]],
    ) -> None:
        self._database = database
        self._leases = leases
        self._hooks = hooks
        self._at_work = False
        self._wanted = False

    def deliver(self) -> float | None:
        """Tell all that is due, one after the other, and what comes about meanwhile.

        Returns the seconds after which what was not taken is due again; None if all was.
        """
        self._wanted = True
        if self._at_work or not self._hooks:
            return None
        self._at_work = True
        try:
            while self._wanted:
                self._wanted = False
                while self._tell_all(self._due()):
                    pass
        finally:
            self._at_work = False
        return self._seconds_to_next()

    def _seconds_to_next(self) -> float | None:
        query = select(func.min(outbox.c.due)).where(outbox.c.attempts > 0)
        due = self._database.read(lambda connection: connection.scalar(query))
        return None if due is None else min(max(_FIRST_PAUSE, due - time.time()), _LONGEST_PAUSE)

    def _tell_all(self, events: list[_Event]) -> bool:
        """Whether there were any for this process."""
        return sum(self._tell(event) for event in events) > 0

    def _due(self) -> list[_Event]:
        """The first of each upload, if its time has come."""
        now = time.time()
        first = select(func.min(outbox.c.number)).group_by(outbox.c.upload)
        # A clock that was set back would have them wait for it.
        is_due = (outbox.c.due <= now) | (outbox.c.due > now + 2 * _LONGEST_PAUSE)
        query = select(outbox).where(outbox.c.number.in_(first), is_due)
        query = query.order_by(outbox.c.number).limit(_AT_ONCE)

        def work(connection: Connection) -> list[_Event]:
            return [
                _Event(row["number"], row["event"], upload_of(row["row"]), row["attempts"])
                for row in connection.execute(query).mappings()
            ]

        return self._database.read(work)

    def _tell(self, event: _Event) -> bool:
        """Whether it was this process that told it."""
        if not self._claim(event):
            return False
        hook = self._hooks.get(event.name)
        try:
            if hook is not None:
                hook(event.upload)
        except Exception:
            _log.exception("the hook %r failed for upload %s", event.name, event.upload.id)
            self._release(event, time.time() + pause_after(event.attempts + 1))
        except BaseException:
            self._release(event, 0.0)
            raise
        else:
            self._database.write(lambda connection: _delete(connection, event.number))
        return True

    def _claim(self, event: _Event) -> bool:
        mine = self._leases.mine
        holder_of = select(outbox.c.holder).where(outbox.c.number == event.number)
        holder = self._database.read(lambda connection: connection.scalar(holder_of))
        if holder not in (None, mine) and not self._leases.is_gone(holder):
            return False
        free = outbox.c.holder.is_(None) if holder is None else outbox.c.holder == holder
        claim = (
            update(outbox)
            .where(outbox.c.number == event.number, free)
            .values(holder=mine, attempts=event.attempts + 1)
        )

        def work(connection: Connection) -> bool:
            return bool(connection.execute(claim).rowcount)

        return self._database.write(work, durable=False)

    def _release(self, event: _Event, due: float) -> None:
        mine = update(outbox).where(outbox.c.number == event.number)
        values = mine.values(holder=None, due=due)

        def work(connection: Connection) -> None:
            connection.execute(values)

        self._database.write(work, durable=False)


def _delete(connection: Connection, number: int) -> Any:
    return connection.execute(delete(outbox).where(outbox.c.number == number)).rowcount
