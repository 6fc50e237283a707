"""One file to its key: in one go, or so that another run of the command can go on.

What is sent in one go is a deposit, of which nothing is left if it is not committed. For what is
to be gone on with a writing is begun and kept on this machine (kept_writings.py), before the first
byte is sent. How many parts are in flight, and what they hold, is the storage's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import AlreadyStored, NotStored
from ..storage import Description, Ranges, Storage, Stored, Token
from .kept_writings import Kept, KeptWriting
from .local_files import LocalChange, LocalFile, Version
from .telling import Teller


@dataclass(frozen=True)
class Order:
    """What is to become of a file: its key, what is said of it, whether it may replace another."""

    key: str
    description: Description = field(default_factory=Description)
    overwrite: bool = False


def send_in_one_go(storage: Storage, file: LocalFile, order: Order, tell: Teller) -> Stored:
    """All or nothing: if it breaks off, nothing is left."""
    _refuse_what_is_there(storage, order)
    tell.file(file.name, file.size)
    with storage.deposit(order.key, size=file.size, description=order.description) as deposit:
        for block in file.blocks(stop=file.size):
            deposit.write(block)
            tell.sent(len(block))
        tell.storing()
        file.check_unchanged()
        return deposit.commit(overwrite=order.overwrite)


def send_resumably(
    storage: Storage,
    file: LocalFile,
    version: Version,
    order: Order,
    kept: KeptWriting,
    tell: Teller,
) -> Stored:
    """What is durable stays if it breaks off, and how to go on is kept."""
    writing = _Writing(storage, file, version, order, kept)
    try:
        stored = writing.begin(tell)
        if stored is None:
            tell.file(file.name, version.size, writing.durable.total)
            stored = writing.send(tell)
    except (LocalChange, AlreadyStored):  # nobody can go on with it
        drop(storage, kept)
        raise
    kept.forget()
    return stored


def drop(storage: Storage, kept: KeptWriting) -> None:
    """End what an earlier command began, and leave nothing of it."""
    earlier = kept.read()
    if earlier is not None:
        storage.abort(earlier.token)
    kept.forget()


class _Writing:
    def __init__(
        self,
        storage: Storage,
        file: LocalFile,
        version: Version,
        order: Order,
        kept: KeptWriting,
    ) -> None:
        self._storage, self._file, self._version = storage, file, version
        self._order, self._kept = order, kept
        self._token: Token
        self.durable = Ranges()

    def begin(self, tell: Teller) -> Stored | None:
        """Go on where an earlier run broke off, else anew; the object if it was only not told."""
        earlier = self._kept.read()
        if earlier is None:
            self._begin_anew()
            return None
        if earlier.version != self._version:
            tell.say(f"{self._file.name} was changed since its upload began: it begins anew.")
            self._storage.abort(earlier.token)
            self._begin_anew()
            return None
        self._token = earlier.token
        try:
            self.durable = self._storage.durable(self._token)
            return None
        except NotStored:
            return self._committed_or_anew(tell)

    def _committed_or_anew(self, tell: Teller) -> Stored | None:
        """A writing is gone: committed by a run that could not say so any more, or expired."""
        try:
            return self._commit()
        except NotStored:
            tell.say(f"What was stored of {self._file.name} is gone: it begins anew.")
            self._begin_anew()
            return None

    def _begin_anew(self) -> None:
        self._kept.forget()
        _refuse_what_is_there(self._storage, self._order)
        self._token = self._storage.begin(
            self._order.key, size=self._version.size, description=self._order.description
        )
        self._kept.keep(Kept(self._version, self._token))
        self.durable = Ranges()

    def send(self, tell: Teller) -> Stored:
        for start, stop in self.durable.missing(self._version.size):
            with self._storage.writer(self._token, start) as writer:
                for block in self._file.blocks(start, stop):
                    writer.write(block)
                    tell.sent(len(block))
                if stop == self._version.size:
                    tell.storing()
                writer.finish()
        self._file.check_unchanged()
        return self._commit()

    def _commit(self) -> Stored:
        return self._storage.commit(
            self._token, self._version.size, overwrite=self._order.overwrite
        )


def _refuse_what_is_there(storage: Storage, order: Order) -> None:
    """Before gigabytes are sent for nothing; what is certain the commit says."""
    if order.overwrite:
        return
    try:
        storage.stat(order.key)
    except NotStored:
        return
    raise AlreadyStored(order.key)
