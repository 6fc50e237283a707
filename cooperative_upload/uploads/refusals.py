"""What an upload that outlives its requests can refuse, each with both numbers.

Every one is a RequestError: its status and its text are an answer as they stand, and what its
attributes hold is for a protocol that has words of its own. Those that come before a byte was read
leave the body to be read or thrown away by whoever holds the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from werkzeug.exceptions import (
    BadRequest,
    Conflict,
    Forbidden,
    Gone,
    HTTPException,
    Locked,
    NotFound,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)

from ..errors import RequestError


class UploadRefusal(RequestError):
    """Base of what is refused of an upload."""

    ending = "unread"
    fault: ClassVar[Literal["client", "server", "operator", "application"]] = "client"

    def members(self) -> Mapping[str, Any]:
        """What a problem's details (RFC 9457) hold beside the text: names with dashes."""
        return {}


class NoSuchUpload(UploadRefusal, NotFound):
    """No upload has this id, or the owner who asks has none of it; HTTP status 404."""

    description = "There is no such upload."


class UploadGone(UploadRefusal, Gone):
    """The upload expired, or was cancelled or deleted, a short while ago; HTTP status 410."""

    description = "The upload is gone: it has expired, or it was cancelled."


class WrongOffset(UploadRefusal, Conflict):
    """The bytes do not begin where the upload goes on; HTTP status 409.

    expected: where it goes on.
    provided: where they begin.
    """

    def __init__(self, expected: int, provided: int) -> None:
        self.expected = expected
        self.provided = provided
        super().__init__(
            f"The upload goes on at byte {expected:,}, and what was sent begins at {provided:,}."
        )

    def members(self) -> Mapping[str, Any]:
        return {"expected-offset": self.expected, "provided-offset": self.provided}


class InconsistentLength(UploadRefusal, BadRequest):
    """The length of the upload is said twice, and differently; HTTP status 400.

    known: bytes that were declared, or that are there.
    provided: bytes that this request makes of it.
    """

    def __init__(self, known: int, provided: int) -> None:
        self.known = known
        self.provided = provided
        super().__init__(f"The upload has {known:,} bytes, and the request makes it {provided:,}.")

    def members(self) -> Mapping[str, Any]:
        return {"known-length": self.known, "provided-length": self.provided}


class LargerThanDeclared(UploadRefusal, RequestEntityTooLarge):
    """The request brings bytes behind the declared end; HTTP status 413.

    declared: bytes of the whole.
    provided: where the request ends, as far as it is known.
    """

    def __init__(self, declared: int, provided: int) -> None:
        self.declared = declared
        self.provided = provided
        super().__init__(
            f"The upload has {declared:,} bytes, and what was sent goes up to {provided:,}."
        )

    def members(self) -> Mapping[str, Any]:
        return {"known-length": self.declared, "provided-length": self.provided}


class UploadTooLarge(UploadRefusal, RequestEntityTooLarge):
    """Larger than one upload of this owner may be; HTTP status 413.

    limit: the most bytes.
    size: bytes that were declared, or that have come.
    """

    def __init__(self, limit: int, size: int) -> None:
        self.limit = limit
        self.size = size
        super().__init__(
            f"The upload is too large: {size:,} bytes, accepted are at most {limit:,}."
        )

    def members(self) -> Mapping[str, Any]:
        return {"limit": self.limit, "size": self.size}


class QuotaExceeded(UploadRefusal, RequestEntityTooLarge):
    """The owner would have more than may be; HTTP status 413.

    what: "bytes" or "uploads".
    limit: the most of them.
    wanted: how many there would be.
    """

    def __init__(self, what: Literal["bytes", "uploads"], limit: int, wanted: int) -> None:
        self.what = what
        self.limit = limit
        self.wanted = wanted
        super().__init__(
            f"Too much is stored already: it would be {wanted:,} {what}, allowed are {limit:,}."
        )

    def members(self) -> Mapping[str, Any]:
        return {"what": self.what, "limit": self.limit, "wanted": self.wanted}


class TypeRefused(UploadRefusal, UnsupportedMediaType):
    """Content of this type is not accepted; HTTP status 415.

    content_type: what was declared; None if nothing was.
    accepted: the patterns of what is.
    """

    def __init__(self, content_type: str | None, accepted: tuple[str, ...]) -> None:
        self.content_type = content_type
        self.accepted = accepted
        super().__init__(
            f"Content of type {content_type or 'unknown'} is not accepted, "
            f"but {', '.join(accepted)}."
        )

    def members(self) -> Mapping[str, Any]:
        return {"content-type": self.content_type, "accepted": list(self.accepted)}


class MetadataTooLarge(UploadRefusal, RequestEntityTooLarge):
    """Name, type and metadata are more than is kept of an upload; HTTP status 413.

    limit, size: bytes.
    """

    def __init__(self, limit: int, size: int) -> None:
        self.limit = limit
        self.size = size
        super().__init__(
            f"The metadata is too large: {size:,} bytes, accepted are at most {limit:,}."
        )

    def members(self) -> Mapping[str, Any]:
        return {"limit": self.limit, "size": self.size}


class UnknownChecksum(UploadRefusal, BadRequest):
    """Nobody here computes checksums of this kind; HTTP status 400.

    algorithm: what was asked for.
    known: what could be.
    """

    def __init__(self, algorithm: str, known: tuple[str, ...]) -> None:
        self.algorithm = algorithm
        self.known = known
        super().__init__(
            f"The checksum {algorithm!r} is unknown here: there are {', '.join(known)}."
        )

    def members(self) -> Mapping[str, Any]:
        return {"algorithm": self.algorithm, "known": list(self.known)}


class TooManyGaps(UploadRefusal, BadRequest):
    """The bytes that are there lie in more pieces than are kept; HTTP status 400.

    limit: the most pieces.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"The upload lies in too many pieces: at most {limit:,} are kept.")


class ChecksumMismatch(UploadRefusal):
    """What arrived is not what was summed up; status 460, tus' own. Nothing of it is kept.

    algorithm: by its name in RFC 9530.
    announced, computed: the digests.
    """

    ending = "corrupt"
    code = 460
    name = "Checksum Mismatch"

    def __init__(self, algorithm: str, announced: bytes, computed: bytes) -> None:
        self.algorithm = algorithm
        self.announced = announced
        self.computed = computed
        super().__init__(
            f"What was sent has the {algorithm} {computed.hex()}, announced was {announced.hex()}."
        )

    def members(self) -> Mapping[str, Any]:
        return {
            "algorithm": self.algorithm,
            "announced": self.announced.hex(),
            "computed": self.computed.hex(),
        }


class NotAppendable(UploadRefusal, Forbidden):
    """Nothing can be added to this upload; HTTP status 403.

    It has all its bytes, or it consists of other uploads. `state` says which of the first.
    """

    def __init__(self, state: str) -> None:
        self.state = state
        super().__init__(f"Nothing can be added to this upload: it is {state}.")


class NotConcatenable(UploadRefusal, BadRequest):
    """These uploads can't be made one; HTTP status 400. The text says why."""


class Superseded(UploadRefusal, Conflict):
    """A newer request took the upload over; HTTP status 409.

    What this one had received until then may be counted or not; the status says it.
    """

    description = "A newer request goes on with this upload."


class RefusedUpload(UploadRefusal, HTTPException):
    """What a check of the application found wrong with the content. Its hooks raise it.

    The upload is `refused` then: its bytes are dropped, and whoever asks gets this again.

    detail: for the client.
    status: of the answer, a 4xx.
    """

    def __init__(self, detail: str, status: int = 422) -> None:
        if not 400 <= status <= 499:
            raise ValueError(f"a refusal is a 4xx, not {status}")
        self.code = status
        super().__init__(detail)


class Later(UploadRefusal, Locked):
    """Nothing is wrong, but there is no answer yet; HTTP status 423 with Retry-After.

    It is what a client of these protocols waits and asks again for, where it would begin anew
    after a 5xx.

    retry_after: seconds.
    """

    fault = "server"

    def __init__(self, description: str | None = None, retry_after: int = 1) -> None:
        self.retry_after = retry_after
        super().__init__(description)

    def get_headers(self, *args: Any, **more: Any) -> list[tuple[str, str]]:
        return [*super().get_headers(*args, **more), ("Retry-After", str(self.retry_after))]


class OutOfReach(Later):
    """The database does not answer, or is locked by somebody else."""

    description = "The state of the upload is out of reach for now. Ask again."


class NotReadyYet(Later):
    """All bytes are there and safe; they are being checked, or put in their place."""

    description = "The upload has arrived and is being checked. Ask again."
