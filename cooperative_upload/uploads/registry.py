"""The registry: every upload's record in the database, and what has to change together with it.

Here a step of record.py becomes a transaction: the row is locked, the step is taken, and what it
changed is written, with the account of the owner and with what the application is to be told.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

from sqlalchemy import (
    Connection,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from ..monitoring import count
from .counting import counted_as
from .database import Database
from .record import Limits, State, Step, Upload, check_there
from .refusals import NoSuchUpload, QuotaExceeded
from .rows import changes, row_of, upload_of
from .schema import duties, outbox, owners, uploads, workers

Event = Literal["ready", "removed"]


# Made once: to make a statement takes longer than to run it.
_INSERT = insert(uploads)
_BY_ID = select(uploads).where(uploads.c.id == bindparam("this"))
_BY_ID_LOCKED = _BY_ID.with_for_update()
_FENCED = update(uploads).where(
    uploads.c.id == bindparam("this"), uploads.c.generation == bindparam("of")
)

_ACCOUNT = select(owners.c.bytes, owners.c.uploads).where(owners.c.owner == bindparam("of"))
_ACCOUNT_LOCKED = _ACCOUNT.with_for_update()
_SET_ACCOUNT = update(owners).where(owners.c.owner == bindparam("of"))


class Registry:
    """The records of uploads.

    told: the events that somebody wants to hear of.
    """

    def __init__(self, database: Database, told: frozenset[Event]) -> None:
        self._database = database
        self._told = told

    def find(self, id: str, owner: str | None = None) -> Upload:
        """The upload as it is committed. Raises NoSuchUpload, or UploadGone."""

        def work(connection: Connection) -> Upload:
            return check_there(_load(connection, id, owner))

        return self._database.read(work)

    def look_up(self, id: str) -> Upload:
        """As find(), and also one that is being removed."""
        return self._database.read(lambda connection: _load(connection, id, None))

    def check_account(self, upload: Upload) -> None:
        """Raise QuotaExceeded for one that its owner may not have now. Reserves nothing."""

        def work(connection: Connection) -> None:
            row = connection.execute(_ACCOUNT, {"of": upload.owner}).one_or_none()
            total, number = (0, 0) if row is None else (row.bytes, row.uploads)
            more = 0 if upload.partial else 1
            _check_account(
                upload.limits, upload.reserved, total + upload.reserved, more, number + more
            )

        self._database.read(work)

    def add(self, upload: Upload) -> Upload:
        """Put a new one in, if its owner may have it; again gives what is there.

        Returns the one that is there under its alias, if there is one.
        Raises QuotaExceeded.
        """

        def work(connection: Connection) -> Upload:
            _account_of(connection, upload.owner)  # locked: two can't begin one alias at once
            earlier = _earlier(connection, upload)
            if earlier is not None:
                return earlier
            _account(connection, upload, upload.reserved, 0 if upload.partial else 1)
            connection.execute(_INSERT, row_of(upload))
            return upload

        added = self._database.write(work)
        if added.id == upload.id:
            count("uploads_created")
        return added

    def add_whole(
        self, upload: Upload, parts: Sequence[str], make: Callable[[list[Upload]], Upload]
    ) -> Upload:
        """Put one in that consists of others.

        make: what it is, of those as they are now; it raises if they can't be its parts.
        """

        def work(connection: Connection) -> Upload:
            earlier = _earlier(connection, upload)
            if earlier is not None:
                return earlier
            # In one order, whatever theirs: who locks the same rows would wait for us else, and
            # we for them.
            found = {id: _load(connection, id, None, lock=True) for id in sorted(set(parts))}
            whole = make([found[id] for id in parts])
            for part in found.values():
                _change(connection, part, part_of=whole.id, expires=None)
            _account(connection, whole, 0, 1)
            connection.execute(_INSERT, row_of(whole))
            return whole

        added = self._database.write(work)
        if added.id == upload.id:
            count("uploads_created")
        return added

    def change(
        self, id: str, step: Step, owner: str | None = None, *, durable: bool = True
    ) -> Upload:
        """Take a step, and return what it made of the upload; raises what the step raises."""

        def work(connection: Connection) -> tuple[Upload, Upload]:
            before = _load(connection, id, owner, lock=True)
            after = step(before)
            if after == before:
                return before, before
            _change(connection, before, **changes(before, after))
            _account(connection, after, after.reserved - before.reserved, 0)
            if after.ready and not before.ready:
                self._tell(connection, "ready", after)
            return before, after

        before, after = self._database.write(work, durable=durable)
        for event in counted_as(before, after):
            count(event)
        return after

    def remove(self, upload: Upload) -> None:
        """Take out one of which the storage has nothing any more. Again is harmless."""

        def work(connection: Connection) -> None:
            gone = connection.execute(delete(uploads).where(uploads.c.id == upload.id))
            if gone.rowcount:
                _account(connection, upload, -upload.reserved, 0 if upload.partial else -1)
                self._tell(connection, "removed", upload)

        self._database.write(work)

    def by_alias(self, owner: str, alias: str) -> Upload | None:
        """The upload that the owner calls so."""

        def work(connection: Connection) -> Upload | None:
            return _by_alias(connection, owner, alias)

        return self._database.read(work)

    def of_owner(
        self, owner: str, states: Sequence[State], after: Upload | None, most: int
    ) -> list[Upload]:
        """Newest first, without partial ones; those behind `after`."""
        wanted = [state.value for state in states]
        query = select(uploads).where(
            uploads.c.owner == owner, uploads.c.state.in_(wanted), uploads.c.partial.is_(False)
        )
        if after is not None:
            older = uploads.c.created < after.created
            same = and_(uploads.c.created == after.created, uploads.c.id < after.id)
            query = query.where(or_(older, same))
        query = query.order_by(uploads.c.created.desc(), uploads.c.id.desc()).limit(most)
        return self._select(query)

    def expired(self, now: float, most: int) -> list[Upload]:
        """Those whose time is up, and those that were to be removed already."""
        busy = [State.RECEIVED.value, State.CHECKING.value]
        due = and_(uploads.c.expires <= now, uploads.c.state.not_in(busy))
        gone = or_(due, uploads.c.state == State.EXPIRED.value)
        return self._select(select(uploads).where(gone).limit(most))

    def unfinished(self, most: int) -> list[Upload]:
        """Those that have all their bytes, and are neither ready nor refused."""
        states = [State.RECEIVED.value, State.CHECKING.value]
        return self._select(select(uploads).where(uploads.c.state.in_(states)).limit(most))

    def held(self, ids: Sequence[str]) -> dict[str, tuple[int, bool]]:
        """(generation, whether to stop) of those of these that are there."""
        columns = (uploads.c.id, uploads.c.generation, uploads.c.stop_requested)
        query = select(*columns).where(uploads.c.id.in_(ids))

        def work(connection: Connection) -> dict[str, tuple[int, bool]]:
            return {id: (generation, stop) for id, generation, stop in connection.execute(query)}

        return self._database.read(work)

    def beat(self, process: str) -> None:
        """Count a process's beats up: it lives."""
        mine = workers.c.name == process

        def work(connection: Connection) -> None:
            _insert_or_leave(connection, workers, {"name": process, "beats": 0})
            connection.execute(update(workers).where(mine).values(beats=workers.c.beats + 1))

        self._database.write(work, durable=False)

    def beats_of(self, process: str) -> int | None:
        """How often it has; None for one that never had to."""
        query = select(workers.c.beats).where(workers.c.name == process)
        return self._database.read(lambda connection: connection.scalar(query))

    def processes(self) -> list[str]:
        """Those that have beaten, and were not forgotten since."""
        query = select(workers.c.name)
        return self._database.read(lambda connection: list(connection.scalars(query)))

    def forget_process(self, process: str) -> None:
        """Drop the beats of one that is gone."""
        gone = delete(workers).where(workers.c.name == process)
        self._database.write(lambda connection: connection.execute(gone), durable=False)

    def take_duty(self, name: str, process: str, gone: Callable[[str], bool]) -> bool:
        """Whether that process is the one that does this for all, now."""
        query = select(duties.c.holder).where(duties.c.name == name)
        holder = self._database.read(lambda connection: connection.scalar(query))
        if holder == process:
            return True
        if holder is not None and not gone(holder):
            return False

        def work(connection: Connection) -> bool:
            mine = {"name": name, "holder": process}
            _insert_or_leave(connection, duties, {"name": name, "holder": holder})
            same = duties.c.holder.is_(None) if holder is None else duties.c.holder == holder
            taken = update(duties).where(duties.c.name == name, same).values(mine)
            return bool(connection.execute(taken).rowcount)

        return self._database.write(work, durable=False)

    def knows_key(self, key: str) -> bool:
        """Whether an upload has this key."""
        query = select(exists().where(uploads.c.key == key))
        return bool(self._database.read(lambda connection: connection.scalar(query)))

    def _select(self, query: Any) -> list[Upload]:
        def work(connection: Connection) -> list[Upload]:
            return [upload_of(dict(row)) for row in connection.execute(query).mappings()]

        return self._database.read(work)

    def _tell(self, connection: Connection, event: Event, upload: Upload) -> None:
        if event in self._told and not upload.partial:
            row = json.loads(json.dumps(row_of(upload)))
            values = {"upload": upload.id, "event": event, "row": row, "attempts": 0, "due": 0.0}
            connection.execute(insert(outbox).values(values))


def _load(connection: Connection, id: str, owner: str | None, *, lock: bool = False) -> Upload:
    query = _BY_ID_LOCKED if lock and connection.dialect.name != "sqlite" else _BY_ID
    row = connection.execute(query, {"this": id}).mappings().one_or_none()
    if row is None or (owner is not None and row["owner"] != owner):
        raise NoSuchUpload()
    return upload_of(dict(row))


def _earlier(connection: Connection, upload: Upload) -> Upload | None:
    """The one that is there already, as this one or under its alias."""
    if upload.alias is not None:
        return _by_alias(connection, upload.owner, upload.alias)
    row = connection.execute(_BY_ID, {"this": upload.id}).mappings().one_or_none()
    return None if row is None else upload_of(dict(row))


def _by_alias(connection: Connection, owner: str, alias: str) -> Upload | None:
    query = select(uploads).where(uploads.c.owner == owner, uploads.c.alias == alias)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else upload_of(dict(row))


def _change(connection: Connection, upload: Upload, **values: Any) -> None:
    fenced = {"this": upload.id, "of": upload.generation}
    connection.execute(_FENCED, {**fenced, **values})


def _account(connection: Connection, upload: Upload, more_bytes: int, more: int) -> None:
    """Add to what the owner has, as far as that may be more. Raises QuotaExceeded."""
    if not more_bytes and not more:
        return
    row = _account_of(connection, upload.owner)
    total, number = row.bytes + more_bytes, row.uploads + more
    _check_account(upload.limits, more_bytes, total, more, number)
    now = {"of": upload.owner, "bytes": total, "uploads": number}
    connection.execute(_SET_ACCOUNT, now)


def _check_account(limits: Limits, more_bytes: int, total: int, more: int, number: int) -> None:
    if more_bytes > 0 and limits.owner_bytes is not None and total > limits.owner_bytes:
        raise QuotaExceeded("bytes", limits.owner_bytes, total)
    if more > 0 and limits.owner_uploads is not None and number > limits.owner_uploads:
        raise QuotaExceeded("uploads", limits.owner_uploads, number)


def _account_of(connection: Connection, owner: str) -> Any:
    """What the owner has, locked until the transaction ends."""
    query = _ACCOUNT if connection.dialect.name == "sqlite" else _ACCOUNT_LOCKED
    row = connection.execute(query, {"of": owner}).one_or_none()
    if row is None:
        _insert_or_leave(connection, owners, {"owner": owner, "bytes": 0, "uploads": 0})
        row = connection.execute(query, {"of": owner}).one()
    return row


def _insert_or_leave(connection: Connection, table: Table, values: dict[str, Any]) -> None:
    """Put a row in, if there is none of its key; two may do that at once."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(dialect.insert(table).values(values).on_conflict_do_nothing())
