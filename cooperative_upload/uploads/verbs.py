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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..settings import UploadSettings
from ..storage import Content, Storage
from .record import Answer, State, Upload


@dataclass(frozen=True)
class Limits:
    """What an owner may have. None: no limit.

    upload_bytes: of one upload.
    types: patterns of content types that are accepted, "image/*" or "application/pdf".
    owner_bytes: of all uploads of the owner, declared ones included.
    owner_uploads: how many the owner may have, in all states but refused and expired.
    """

    upload_bytes: int | None = None
    types: tuple[str, ...] | None = None
    owner_bytes: int | None = None
    owner_uploads: int | None = None


@dataclass(frozen=True)
class Creation:
    """What is asked for when an upload begins.

    owner: whose it is; any text that the application's authorize gave.
    size: bytes of the whole; None if the client does not know it yet.
    name, content_type, metadata: as the client gave them, in Unicode.
    digests: that the whole has to have, by their names in RFC 9530.
    partial: whether it is to become part of another one: it has no hooks of its own.
    alias: an id of the client's choice, unique among those of the owner; a second creation with
        it finds the first upload.
    limits: what the owner may have.
    """

    owner: str
    size: int | None = None
    name: str | None = None
    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, bytes] = field(default_factory=dict)
    partial: bool = False
    alias: str | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Page:
    """Some of an owner's uploads, newest first.

    next: what to give as `after` for those behind them; None at the end.
    """

    uploads: tuple[Upload, ...]
    next: str | None


class UploadService:
    """The verbs. See the module's text for what holds for all of them.

    storage: where the bytes lie.
    database: SQLAlchemy's URL of the state: SQLite for one machine, PostgreSQL for several.
    hooks: what the application does at each step.
    settings: None for those of the process.
    """

    def __init__(
        self,
        storage: Storage,
        database: str,
        *,
        hooks: Any = None,
        settings: UploadSettings | None = None,
    ) -> None:
        raise NotImplementedError

    # From the first byte to the last.

    def create(self, creation: Creation) -> Upload:
        """Begin an upload; its size is reserved. With size 0 it is not finished: append or finish.

        Raises UploadTooLarge, QuotaExceeded, TypeRefused, StorageFull.
        """
        raise NotImplementedError

    def status(self, id: str, *, owner: str | None = None) -> Upload:
        """What is committed now. Never waits for who writes.

        For pages and progress, not for a client that is about to go on: settle() is.
        """
        raise NotImplementedError

    def settle(self, id: str, *, owner: str | None = None) -> Upload:
        """The status for a client that is about to go on (HEAD of tus and of the IETF's protocol).

        Whoever still writes, mostly a request whose connection is dead and nobody knows it, stops
        and commits what it has; that is waited for a second at the most. An upload that has all
        its bytes and is worked on by nobody is finished. Raises NotReadyYet while all bytes are
        there and the upload is neither ready nor refused, RefusedUpload for a refused one.
        """
        raise NotImplementedError

    def declare_size(self, id: str, size: int, *, owner: str | None = None) -> Upload:
        """Say how many bytes the whole has, where that was not said before. Again is harmless.

        Raises InconsistentLength if another number was said, or more bytes are there;
        UploadTooLarge, QuotaExceeded.
        """
        raise NotImplementedError

    def append(
        self,
        id: str,
        offset: int,
        body: Any,
        *,
        last: bool | None = None,
        checksum: Any = None,
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
        raise NotImplementedError

    def write(self, id: str, start: int, body: Any, *, owner: str | None = None) -> Upload:
        """Add bytes anywhere, beside others who do the same (chunks in forms). Again is harmless.

        An upload that becomes complete by it is finished, by one of them; to the others, and to
        late repetitions, the upload is returned as it is, and their bodies are left unread.
        Raises as append(), but for WrongOffset and Superseded; TooManyGaps.
        """
        raise NotImplementedError

    def finish(self, id: str, *, owner: str | None = None) -> Upload:
        """Complete an upload that has all its bytes. Again gives the same.

        One of unknown size has the size that is there. Returns it when it is ready. Raises
        WrongOffset where bytes are missing, RefusedUpload, NotReadyYet, StorageError.
        """
        raise NotImplementedError

    def concatenate(self, creation: Creation, parts: Sequence[str]) -> Upload:
        """Make one upload of others that are `partial` and complete, in this order.

        It is ready at once, however large: nothing is copied. They go with it when it is deleted.
        The size of the creation is that of the parts. Raises NotConcatenable for those that are
        not the owner's, not partial, not complete, or in another one already.
        """
        raise NotImplementedError

    def refuse(self, id: str, detail: str, status: int = 400) -> Upload:
        """Have it over with an upload that its client made invalid. Again is harmless."""
        raise NotImplementedError

    def remember_answer(self, id: str, answer: Answer) -> None:
        """Keep the final answer of a ready or refused upload as Upload.answer. The first stays."""
        raise NotImplementedError

    def cancel(self, id: str, *, owner: str | None = None) -> None:
        """Take an upload away, whatever its state (tus' termination). Whoever writes stops.

        Raises NoSuchUpload if there is none; a second one may meet that, too.
        """
        raise NotImplementedError

    # What is there.

    def open(self, id: str, start: int = 0, stop: int | None = None) -> Content:
        """Bytes of a ready upload. Raises NoSuchUpload, NotReadyYet."""
        raise NotImplementedError

    def path(self, id: str) -> Path:
        """The file of a ready upload, where the storage is a folder and the upload one file.

        Raises NotImplementedError where it is not.
        """
        raise NotImplementedError

    def delete(self, id: str) -> None:
        """As cancel(), for the application: one that is not there is left alone."""
        raise NotImplementedError

    def find(self, owner: str, alias: str) -> Upload | None:
        """The upload of that alias."""
        raise NotImplementedError

    def forget_alias(self, id: str) -> None:
        """From now on its alias is free for another upload."""
        raise NotImplementedError

    def of_owner(
        self,
        owner: str,
        *,
        states: Sequence[State] = (State.READY,),
        after: str | None = None,
        most: int = 100,
    ) -> Page:
        """Some of an owner's uploads, newest first; without partial ones."""
        raise NotImplementedError

    def sweep(self) -> None:
        """Expire, clean up, deliver: one round of what each service does in the background."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop what runs in the background. Uploads are left as they are."""
        raise NotImplementedError


def blocks_of(body: Any) -> Iterator[bytes]:
    """The bytes of a body as they arrive, all that came before it breaks included."""
    raise NotImplementedError
