"""The record of one upload: its states, and what a request may do in each. No I/O.

States:

* `open`: bytes are missing, or nobody has said yet that these are all.
* `received`: all bytes are durable, and nobody works on them.
* `checking`: one worker puts them in their place and has them checked.
* `ready`: in their place, and checked. It ends by removal alone.
* `refused`: a check failed. The bytes are dropped, and what is told of it stays for a while.
* `expired`: abandoned, cancelled or deleted. For clients it is gone; its bytes and its row follow.

An upload goes open -> received or checking -> ready or refused; from checking back to received
where the storage failed or the worker died; and from each state to expired.

Every step takes the record as it is committed and gives the one to commit, or raises. It is taken
with the row locked, by whoever is named in it. To take a step again, because nobody knows whether
the first was committed, changes nothing more. A step that says a generation is that of a holder:
where the record has another one, somebody came newer, and the step raises Superseded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from ..storage import Ranges
from .refusals import (
    InconsistentLength,
    LargerThanDeclared,
    NotAppendable,
    NotConcatenable,
    NotReadyYet,
    RefusedUpload,
    Superseded,
    TooManyGaps,
    TypeRefused,
    UploadGone,
    UploadTooLarge,
    WrongOffset,
)

# The largest number that every database keeps, and files and S3 too.
MOST_BYTES = 2**63 - 1

# Pieces in which an upload may lie: those of 10,000 chunks, S3's number of parts, of which every
# second one lacks.
MOST_PIECES = 5000


class State(str, Enum):
    """What an upload is at the moment; see above."""

    OPEN = "open"
    RECEIVED = "received"
    CHECKING = "checking"
    READY = "ready"
    REFUSED = "refused"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Limits:
    """What an owner may have. None: no limit.

    upload_bytes: of one upload.
    types: patterns of content types that are accepted, "image/*" or "application/pdf".
    owner_bytes: of all uploads of the owner, declared ones included.
    owner_uploads: how many the owner may have, with those that are being received.
    """

    upload_bytes: int | None = None
    types: tuple[str, ...] | None = None
    owner_bytes: int | None = None
    owner_uploads: int | None = None

    def check_size(self, size: int) -> None:
        """Raise UploadTooLarge for an upload of so many bytes."""
        most = MOST_BYTES if self.upload_bytes is None else self.upload_bytes
        if size > most:
            raise UploadTooLarge(most, size)

    def check_type(self, content_type: str | None) -> None:
        """Raise TypeRefused for what no pattern takes; parameters of the type do not count."""
        if self.types is None:
            return
        kind = (content_type or "").partition(";")[0].strip().lower()
        if not any(_matches(kind, pattern.lower()) for pattern in self.types):
            raise TypeRefused(content_type, self.types)


def _matches(kind: str, pattern: str) -> bool:
    if pattern.endswith("/*"):
        return kind.startswith(pattern[:-1]) and len(kind) >= len(pattern)
    return kind == pattern


@dataclass(frozen=True)
class Answer:
    """The answer to the request that completed an upload, kept for who did not hear it.

    headers: in the order in which they are sent.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""


@dataclass(frozen=True)
class Upload:
    """What is known of one upload at one moment.

    id: random, 144 bits in URL-safe letters; who knows it may go on with the upload.
    owner: whose it is, in the words of the application.
    size: bytes of the whole; None as long as nobody has declared them.
    received: which bytes are durable and counted.
    name, content_type, metadata: as the client gave them. Not to be trusted.
    partial: whether it is there to become part of another one (tus' concatenation).
    parts: the ids of those that it consists of; empty for one that has its own bytes.
    part_of: the id of the one that it is a part of.
    alias: an id of the client's choice, unique among those of its owner.
    digests: that the whole has to have, by their names in RFC 9530.
    key: its object's in the storage; nothing is there for one that consists of others.
    created, expires: seconds since the epoch; expires is None for what stays.
    refusal: (status, detail) of a refused one.
    answer: what was kept by remember_answer(); None before.
    token: of its writing in the storage; None if there is none.
    generation: grows with each that takes it over.
    holder: which process works on it; None if none does.
    stop_requested: whether another one asks the holder to commit what it has and to let go.
    placing: whether its object may be in its place already, since somebody began to put it there.
    """

    id: str
    owner: str
    state: State
    size: int | None
    received: Ranges
    name: str | None
    content_type: str | None
    metadata: Mapping[str, str]
    key: str
    created: float
    expires: float | None
    partial: bool = False
    parts: tuple[str, ...] = ()
    part_of: str | None = None
    alias: str | None = None
    digests: Mapping[str, bytes] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    refusal: tuple[int, str] | None = None
    answer: Answer | None = None
    token: Mapping[str, Any] | None = field(default=None, repr=False)
    generation: int = 0
    holder: str | None = None
    stop_requested: bool = False
    placing: bool = False

    @property
    def offset(self) -> int:
        """Where a client goes on: bytes that are there from the first one on without a gap."""
        return self.received.beginning

    @property
    def ready(self) -> bool:
        """Whether it is complete in every sense: only then may a client be told so."""
        return self.state is State.READY

    @property
    def has_all_bytes(self) -> bool:
        """Whether nothing is missing of a size that is known."""
        return self.size is not None and self.received.cover(0, self.size)

    @property
    def reserved(self) -> int:
        """Bytes that count as its owner's."""
        if self.parts or self.state is State.REFUSED:
            return 0  # its parts count, or nothing of it is left
        return self.received.total if self.size is None else self.size


Step = Callable[[Upload], Upload]

# Asking.


def check_there(upload: Upload) -> Upload:
    """The upload; raises UploadGone for one that is being removed."""
    if upload.state is State.EXPIRED:
        raise UploadGone()
    return upload


def check_not_refused(upload: Upload) -> Upload:
    """The upload; raises RefusedUpload, or UploadGone."""
    check_there(upload)
    if upload.refusal is not None:
        status, detail = upload.refusal
        raise RefusedUpload(detail, status)
    return upload


def check_readable(upload: Upload) -> Upload:
    """The upload if it is ready; else why it can't be had."""
    check_not_refused(upload)
    if not upload.ready:
        raise NotReadyYet()
    return upload


def check_end(upload: Upload, end: int) -> None:
    """Raise for bytes that would lie behind the end."""
    if upload.size is not None and end > upload.size:
        raise LargerThanDeclared(upload.size, end)
    upload.limits.check_size(end)


def ends_here(upload: Upload, end: int, last: bool | None) -> bool:
    """Whether bytes up to `end` are all there will be.

    last: what the request says of that; None: where the declared size is reached.
    """
    return upload.size == end if last is None else last


def check_last(upload: Upload, end: int, last: bool | None) -> None:
    """Raise InconsistentLength where the last bytes end elsewhere than was declared."""
    if last and upload.size is not None and upload.size != end:
        raise InconsistentLength(upload.size, end)


# Steps.


def declared(upload: Upload, size: int) -> Upload:
    """With its size said."""
    check_not_refused(upload)
    if upload.size == size:
        return upload
    if upload.size is not None or upload.state is not State.OPEN:
        raise InconsistentLength(upload.offset if upload.size is None else upload.size, size)
    end = max((stop for _, stop in upload.received), default=0)
    if end > size:
        raise InconsistentLength(end, size)
    upload.limits.check_size(size)
    return replace(upload, size=size)


def taken(
    upload: Upload, holder: str, offset: int, length: int | None, last: bool | None
) -> Upload:
    """Taken over by a request that goes on at an offset, from whoever held it.

    length: bytes that it brings; None if nobody knows.
    """
    check_not_refused(upload)
    if upload.parts:
        raise NotAppendable("made of others")
    if offset != upload.offset:
        raise WrongOffset(upload.offset, offset)
    if upload.state is not State.OPEN:
        raise NotAppendable("complete")
    check_end(upload, offset + (length or 0))
    if length is not None:
        check_last(upload, offset + length, last)
    return replace(upload, generation=upload.generation + 1, holder=holder, stop_requested=False)


def with_bytes(upload: Upload, generation: int, ranges: Ranges, expires: float | None) -> Upload:
    """With bytes that are durable now. A late repetition adds nothing."""
    _check_generation(upload, generation)
    if upload.state is not State.OPEN:
        check_not_refused(upload)
        return upload
    received = upload.received | ranges
    if len(received.pairs) > MOST_PIECES:
        raise TooManyGaps(MOST_PIECES)
    return replace(upload, received=received, expires=expires)


def let_go(upload: Upload) -> Upload:
    """Held by nobody."""
    return replace(upload, holder=None, stop_requested=False)


def checking(upload: Upload, holder: str) -> Upload:
    """Complete, and taken by who puts it in its place. One of unknown size has what is there."""
    check_not_refused(upload)
    if upload.ready:
        return upload
    size = upload.offset if upload.size is None else upload.size
    if not upload.received.cover(0, size) or upload.received.total > size:
        raise WrongOffset(upload.offset, size)
    return replace(
        upload,
        state=State.CHECKING,
        size=size,
        generation=upload.generation + _is_taken_over(upload, holder),
        holder=holder,
        stop_requested=False,
        placing=True,
    )


def _is_taken_over(upload: Upload, holder: str) -> bool:
    """Whether somebody else might still work on it, and must not commit any more."""
    return upload.holder not in (None, holder)


def fell_back(upload: Upload, generation: int) -> Upload:
    """Received again, since who worked on it failed."""
    _check_generation(upload, generation)
    if upload.state is not State.CHECKING:
        return upload
    return let_go(replace(upload, state=State.RECEIVED))


def made_ready(upload: Upload, generation: int) -> Upload:
    """In its place, and checked."""
    _check_generation(upload, generation)
    check_not_refused(upload)
    # One that becomes part of nothing is abandoned like one that never ended.
    expires = upload.expires if upload.partial else None
    return let_go(replace(upload, state=State.READY, token=None, expires=expires))


def made_refused(upload: Upload, status: int, detail: str, expires: float) -> Upload:
    """Found wanting, or made invalid. What was ready stays so, and the first refusal too."""
    check_there(upload)
    if upload.state in (State.READY, State.REFUSED):
        return upload
    return let_go(
        replace(
            upload,
            state=State.REFUSED,
            refusal=(status, detail),
            expires=expires,
            generation=upload.generation + 1,
        )
    )


def without_bytes(upload: Upload) -> Upload:
    """A refused one of which the storage has nothing any more."""
    return replace(upload, token=None, received=Ranges(), placing=False)


def made_expired(upload: Upload) -> Upload:
    """Gone for everybody; who still writes writes in vain."""
    if upload.state is State.EXPIRED:
        return upload
    return let_go(
        replace(upload, state=State.EXPIRED, alias=None, generation=upload.generation + 1)
    )


def expired_at(upload: Upload, now: float) -> Upload:
    """Expired if its time is up: bytes may have come since somebody saw that it was."""
    may_expire = upload.state in (State.OPEN, State.READY, State.REFUSED)
    if may_expire and upload.expires is not None and upload.expires <= now:
        return made_expired(upload)
    return upload


def made_part(upload: Upload, owner: str, whole: str) -> Upload:
    """A part of another one."""
    if upload.owner != owner or upload.state is State.EXPIRED:
        raise NotConcatenable(f"There is no upload {upload.id}.")
    if not upload.partial:
        raise NotConcatenable(f"The upload {upload.id} is none that is to become a part.")
    if not upload.ready:
        raise NotConcatenable(f"The upload {upload.id} is not complete.")
    if upload.part_of not in (None, whole):
        raise NotConcatenable(f"The upload {upload.id} is part of another one.")
    return replace(upload, part_of=whole)


def whole_of(upload: Upload, parts: Sequence[Upload]) -> Upload:
    """The upload that consists of these, in their order: with its bytes, and to be checked."""
    size = sum(part.size or 0 for part in parts)
    if upload.size not in (None, size):
        raise InconsistentLength(size, upload.size or 0)
    upload.limits.check_size(size)
    return replace(
        upload,
        state=State.RECEIVED,
        size=size,
        received=Ranges.of([(0, size)]),
        parts=tuple(part.id for part in parts),
    )


def _check_generation(upload: Upload, generation: int) -> None:
    check_there(upload)
    if upload.generation != generation:
        raise Superseded()
