"""UploadService: uploads that outlive their requests, by the verbs that a protocol calls.

One is made for each process and shared by all its greenlets. A protocol translates: it reads
headers, calls a verb, and writes what the verb returned or raised in its own words. What holds for
all protocols:

* Every verb may wait, and lets others run while it does. None holds a transaction while a client
  is waited for.
* What a verb returned is durable and committed. Whoever did not hear it asks again: the same call
  leads to the same state.
* A verb raises an UploadRefusal (refusals.py) for what the client may not do, a BodyError for a
  body that breaks, a StorageError where the storage fails; and Later (423, Retry-After), of which
  OutOfReach and NotReadyYet are kinds, where there is no answer now.
* `owner` narrows: with it a verb does not find what belongs to another. None: the id alone is the
  right to go on (Google's session URLs are that).
* The state `expired` is told as UploadGone while the row is there, and as NoSuchUpload then.

    service = UploadService(storage, "sqlite:////srv/uploads/uploads.db", hooks=Hooks(ready=...))
    upload = service.create(Creation(owner="u17", size=10_000_000, name="film.mp4"))
    upload = service.append(upload.id, 0, body)         # body: request.environ["wsgi.input"]
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..settings import UploadSettings
from ..settings_in_force import settings_in_force
from ..storage import Content, Storage
from .appending import Appending, Checksum
from .background import Background
from .content import opened
from .creating import Creating, Creation
from .database import Database
from .finishing import Finishing
from .hooks import Hooks
from .leases import Leases
from .outbox import Outbox
from .record import (
    Answer,
    State,
    Upload,
    check_not_refused,
    check_readable,
    declared,
)
from .refusals import NoSuchUpload, NotReadyYet, UploadGone
from .registry import Event, Registry
from .sweeper import Sweeper

# What ids look like: nothing else is looked up, whatever a URL holds.
_ID = re.compile(r"[A-Za-z0-9_-]{24}")


@dataclass(frozen=True)
class Page:
    """Some of an owner's uploads, newest first.

    next: what to give as `after` for those behind them; None at the end.
    """

    uploads: tuple[Upload, ...]
    next: str | None


def _key_by_id(creation: Creation, id: str) -> str:
    return id


_NO_HOOKS = Hooks()


class UploadService:
    """The verbs. See the module's text for what holds for all of them.

    storage: where the bytes lie.
    database: SQLAlchemy's URL of the state: SQLite for one machine, PostgreSQL for several.
    hooks: what the application does at each step.
    key: gives an upload's key in the storage, of what was asked for and its id; the id. Where
        another object has the key already the upload is refused when it is complete.
    settings: None for those of the process.
    """

    def __init__(
        self,
        storage: Storage,
        database: str,
        *,
        hooks: Hooks = _NO_HOOKS,
        key: Callable[[Creation, str], str] = _key_by_id,
        settings: UploadSettings | None = None,
    ) -> None:
        self._settings = settings or settings_in_force()
        self._storage = storage
        self.hooks = hooks
        told: dict[Event, Callable[[Upload], object]] = {}
        if hooks.ready is not None:
            told["ready"] = hooks.ready
        if hooks.removed is not None:
            told["removed"] = hooks.removed
        self._database = Database(database, self._settings)
        self._registry = registry = Registry(self._database, frozenset(told))
        self._leases = leases = Leases(registry, self._settings)
        self._outbox = Outbox(self._database, leases, told)
        self._finishing = finishing = Finishing(
            storage, registry, leases, hooks, self._settings, self._deliver
        )
        self._creating = Creating(storage, registry, key, self._settings)
        self._appending = Appending(storage, registry, leases, finishing, hooks, self._settings)
        self._sweeper = Sweeper(storage, registry, leases, finishing, self._outbox, self._settings)
        self._background = Background(self._sweeper, self._outbox, self._settings)

    # From the first byte to the last.

    def create(self, creation: Creation) -> Upload:
        """Begin an upload; its size is reserved. With size 0 it is not finished: append or finish.

        Raises UploadTooLarge, QuotaExceeded, TypeRefused, StorageFull.
        """
        self._background.run()
        return self._creating.create(creation)

    def status(self, id: str, *, owner: str | None = None) -> Upload:
        """What is committed now. Never waits for who writes.

        For pages and progress, not for a client that is about to go on: settle() is.
        """
        return self._registry.find(_checked(id), owner)

    def settle(self, id: str, *, owner: str | None = None) -> Upload:
        """The status for a client that is about to go on (HEAD of tus and of the IETF's protocol).

        Whoever still writes, mostly a request whose connection is dead and nobody knows it, stops
        and commits what it has; that is waited for a second at the most. An upload that has all
        its bytes and is worked on by nobody is finished. Raises NotReadyYet while all bytes are
        there and the upload is neither ready nor refused, RefusedUpload for a refused one.
        """
        upload = check_not_refused(self._leases.settle(self.status(id, owner=owner)))
        if upload.state in (State.RECEIVED, State.CHECKING):
            return self._finishing.finish(id)
        return upload

    def declare_size(self, id: str, size: int, *, owner: str | None = None) -> Upload:
        """Say how many bytes the whole has, where that was not said before. Again is harmless.

        Raises InconsistentLength if another number was said, or more bytes are there;
        UploadTooLarge, QuotaExceeded.
        """
        return self._registry.change(_checked(id), lambda now: declared(now, size), owner)

    def append(
        self,
        id: str,
        offset: int,
        body: Any,
        *,
        last: bool | None = None,
        checksum: Checksum | Callable[[], Checksum] | None = None,
        owner: str | None = None,
    ) -> Upload:
        """Add the bytes of a body where the upload goes on, and finish it if these were the last.

        Takes the upload over from whoever writes to it.

        body: a CooperativeInput (wsgi.input under our worker and wrapper), or what has read(n).
        last: whether these are the last bytes of the whole (Upload-Complete: ?1) or not (?0).
            None: they are where the declared size is reached (tus).
        checksum: (algorithm, digest) of these bytes, by the names of RFC 9530; or a function
            that is called when they are there and returns that (trailers). Nothing of a body that
            fails it, or that breaks off before it, is kept.
        Returns the upload as it is then. Its state is `ready` if it was finished, `open` if not.
        Raises WrongOffset, LargerThanDeclared, InconsistentLength, UploadTooLarge, QuotaExceeded,
        NotAppendable, ChecksumMismatch, RefusedUpload; Superseded; NotReadyYet if all bytes are
        there and the check takes longer than `upload_check_wait_seconds`.
        A BodyError comes after what had arrived was made durable and counted.
        With all bytes there, an append of nothing at the end finishes again what was not finished,
        and returns what is ready.
        """
        self._background.run()
        return self._appending.append(_checked(id), offset, body, last, checksum, owner)

    def write(self, id: str, start: int, body: Any, *, owner: str | None = None) -> Upload:
        """Add bytes anywhere, beside others who do the same (chunks in forms). Again is harmless.

        An upload that becomes complete by it is finished, by one of them; to the others, and to
        late repetitions, the upload is returned as it is, and their bodies are left unread.
        Raises as append(), but for WrongOffset and Superseded; TooManyGaps.
        """
        self._background.run()
        upload = check_not_refused(self.status(id, owner=owner))
        return self._appending.write(upload, start, body)

    def finish(self, id: str, *, owner: str | None = None) -> Upload:
        """Complete an upload that has all its bytes. Again gives the same.

        One of unknown size has the size that is there. Returns it when it is ready. Raises
        WrongOffset where bytes are missing, RefusedUpload, NotReadyYet, StorageError.
        """
        self.status(id, owner=owner)
        return self._finishing.finish(id)

    def concatenate(self, creation: Creation, parts: Sequence[str]) -> Upload:
        """Make one upload of others that are `partial` and complete, in this order.

        However large they are, nothing is copied. They go with it when it is deleted. The size of
        the creation is that of the parts. The whole is checked as any other: it is returned when
        it is ready, or as it is where that takes longer than `upload_check_wait_seconds`. Raises
        NotConcatenable for those that are not the owner's, not partial, not complete, or in
        another one already; RefusedUpload.
        """
        self._background.run()
        whole = self._creating.concatenate(creation, [_checked(part) for part in parts])
        try:
            return self._finishing.finish(whole.id)
        except NotReadyYet:
            return self.status(whole.id)

    def refuse(self, id: str, detail: str, status: int = 400) -> Upload:
        """Have it over with an upload that its client made invalid. Again is harmless."""
        return self._finishing.refuse(self.status(id), status, detail, None)

    def remember_answer(self, id: str, answer: Answer) -> None:
        """Keep the final answer of a ready or refused upload as Upload.answer. The first stays."""

        def step(now: Upload) -> Upload:
            return replace(now, answer=now.answer or answer)

        self._registry.change(_checked(id), step)

    def cancel(self, id: str, *, owner: str | None = None) -> None:
        """Take an upload away, whatever its state (tus' termination). Whoever writes stops.

        Raises NoSuchUpload if there is none; a second one may meet that, too.
        """
        upload = self._registry.find(_checked(id), owner)
        if upload.part_of is None:
            self._sweeper.remove(upload)
            self._deliver()

    # What is there.

    def open(self, id: str, start: int = 0, stop: int | None = None) -> Content:
        """Bytes of a ready upload. Raises NoSuchUpload, NotReadyYet."""
        upload = check_readable(self.status(id))
        return opened(self._storage, self._registry.find, upload, start, stop)

    def path(self, id: str) -> Path:
        """The file of a ready upload, where the storage is a folder and the upload one file.

        Raises NotImplementedError where it is not.
        """
        upload = check_readable(self.status(id))
        path_of = getattr(self._storage, "path", None)
        if path_of is None or upload.parts:
            raise NotImplementedError("this upload is not one file of a folder")
        return Path(path_of(upload.key))

    def delete(self, id: str) -> None:
        """As cancel(), for the application: one that is not there is left alone."""
        with contextlib.suppress(NoSuchUpload, UploadGone):
            self.cancel(id)

    def find(self, owner: str, alias: str) -> Upload | None:
        """The upload of that alias."""
        return self._registry.by_alias(owner, alias)

    def forget_alias(self, id: str) -> None:
        """From now on its alias is free for another upload."""
        self._registry.change(_checked(id), lambda now: replace(now, alias=None))

    def of_owner(
        self,
        owner: str,
        *,
        states: Sequence[State] = (State.READY,),
        after: str | None = None,
        most: int = 100,
    ) -> Page:
        """Some of an owner's uploads, newest first; without partial ones."""
        last = None if after is None else self._registry.look_up(_checked(after))
        found = self._registry.of_owner(owner, states, last, most + 1)
        more = len(found) > most
        return Page(tuple(found[:most]), found[most - 1].id if more else None)

    def sweep(self) -> None:
        """Expire, clean up, deliver: one round of what each service does in the background."""
        self._sweeper.round()

    def close(self) -> None:
        """Stop what runs in the background. Uploads are left as they are."""
        self._background.stop()
        self._database.close()

    def _deliver(self) -> None:
        self._background.deliver()


def _checked(id: str) -> str:
    """The id; raises NoSuchUpload for what is none."""
    if _ID.fullmatch(id) is None:
        raise NoSuchUpload()
    return id
