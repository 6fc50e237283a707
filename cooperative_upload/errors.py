"""What can go wrong with an upload, split by who is at fault.

Every error of this package is an UploadError and names its fault: the *client* that sent the
body, the *server* that can't take it now, the *operator* who configured the server, or the
*application* that asks for what can't be. Those
that end a request say how its body ended, in one word that the log and the counters use too.

They have to end well in each layer that may meet them, none of which knows this package:

* werkzeug and Flask turn an HTTPException into its response: each has its status and a sentence.
* werkzeug's form parser swallows a ValueError and goes on with an empty form (silent=True):
  those that a read or a write raises are none.
* WSGI code, Django and WebOb expect an OSError from a read that the client cut, and from a write
  to a full disk: they are OSErrors.
* gunicorn closes the connection without a traceback on an OSError with ECONNRESET: that is the
  errno of a BodyError. A StorageError keeps the errno that the system gave.
"""

from __future__ import annotations

import errno
import os
from typing import Any, ClassVar, Literal

from werkzeug.exceptions import (
    BadRequest,
    ClientDisconnected,
    Conflict,
    HTTPException,
    NotFound,
    RequestEntityTooLarge,
    RequestTimeout,
    ServiceUnavailable,
)
from werkzeug.http import parse_content_range_header


class UploadError(Exception):
    """Base of all errors of this package."""

    fault: ClassVar[Literal["client", "server", "operator", "application"]]


class SettingsError(UploadError, ValueError):
    """A setting has an unknown name or a value that makes no sense."""

    fault = "operator"


class BodyAlreadyRead(UploadError, RuntimeError):
    """A body was to be stored of which something was read before; for the log, and a 500.

    An HTTPException would be answered without a word in the log, and who can mend this reads that.

    caller: who found it so.
    read: bytes that were handed out before; None if nobody knows.
    expected: bytes of the whole body; None if nobody knows.
    reader: who read them; None if nobody knows.
    """

    fault = "application"

    def __init__(
        self, caller: str, read: int | None, expected: int | None, reader: str | None
    ) -> None:
        self.caller = caller
        self.read = read
        self.expected = expected
        self.reader = reader
        amount = "some of it" if read is None else progress(read, expected)
        super().__init__(
            f"{caller} needs the whole request body, and {amount} went to "
            f"{reader or 'whoever ran before'} already: a body can be read once."
        )


class RequestError(HTTPException, UploadError):
    """An error that is a request's answer, with status and text."""

    ending: ClassVar[str]


class BodyError(RequestError, OSError):
    """The request body can't be had as the client announced it."""

    fault = "client"
    errno = errno.ECONNRESET


STOPPED = "the client stopped sending"


class IncompleteBody(BodyError, ClientDisconnected):
    """The body ended before its announced end; HTTP status 400.

    received: bytes that had arrived.
    expected: bytes that Content-Length announced; None where the framing announces none
        (chunked transfer coding, RFC 9112 section 7.1).
    cause: what came before the rest of the body.
    """

    ending = "incomplete"

    def __init__(self, received: int, expected: int | None, cause: str = STOPPED) -> None:
        self.received = received
        self.expected = expected
        super().__init__(
            f"The request body is incomplete: received {progress(received, expected)} "
            f"before {cause}."
        )


class MalformedBody(BodyError, BadRequest):
    """The framing of the body breaks its protocol; HTTP status 400.

    received: bytes of the body that had been decoded before the fault.
    reason: what is wrong, in the words of the server's decoder.
    """

    ending = "malformed"

    def __init__(self, received: int, reason: str) -> None:
        self.received = received
        self.reason = reason
        super().__init__(
            f"The request body is malformed after {received:,} bytes: {reason.rstrip('.')}."
        )


class BodyTimeout(BodyError, RequestTimeout):
    """The client sent nothing for too long; HTTP status 408.

    received, expected: as for IncompleteBody.
    seconds: how long nothing came.
    """

    ending = "timed_out"

    def __init__(self, received: int, expected: int | None, seconds: float) -> None:
        self.received = received
        self.expected = expected
        self.seconds = seconds
        super().__init__(
            f"The request body stopped arriving: received {progress(received, expected)}, "
            f"then nothing for {seconds:g} seconds."
        )


class BodyTooSlow(BodyError, RequestTimeout):
    """The client sent less than the minimum rate; HTTP status 408.

    received, expected: as for IncompleteBody.
    rate, minimum: bytes a second.
    """

    ending = "too_slow"

    def __init__(self, received: int, expected: int | None, rate: float, minimum: float) -> None:
        self.received = received
        self.expected = expected
        self.rate = rate
        self.minimum = minimum
        super().__init__(
            f"The request body arrives too slowly: received {progress(received, expected)}, "
            f"lately {rate:,.0f} bytes a second where at least {minimum:,.0f} are expected."
        )


class BodyTooLarge(BodyError, RequestEntityTooLarge):
    """The body is larger than the server accepts; HTTP status 413.

    limit: the most bytes that are accepted.
    expected: bytes that Content-Length announced; None where more than the limit have arrived.
    """

    ending = "too_large"

    def __init__(self, limit: int, expected: int | None) -> None:
        self.limit = limit
        self.expected = expected
        size = f"more than {limit:,}" if expected is None else f"{expected:,}"
        super().__init__(
            f"The request body is too large: got {size} bytes, accepted are at most {limit:,}."
        )


class PartHeadersTooLarge(BodyError, RequestEntityTooLarge):
    """The headers of one part of a form are larger than the server accepts; HTTP status 413.

    limit: the most bytes that are accepted.
    """

    ending = "too_large"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(
            f"The headers of a part of the form are too large: accepted are at most {limit:,} "
            "bytes."
        )


class DigestMismatch(BodyError, BadRequest):
    """The body is not the one whose digest the client announced; HTTP status 400.

    algorithm: by its name in RFC 9530.
    announced, computed: the digests.
    """

    ending = "corrupt"

    def __init__(self, algorithm: str, announced: bytes, computed: bytes) -> None:
        self.algorithm = algorithm
        self.announced = announced
        self.computed = computed
        super().__init__(
            f"The request body is not what was announced: its {algorithm} digest is "
            f"{computed.hex()}, announced was {announced.hex()}."
        )


class PartialBody(RequestError, BadRequest):
    """The body is a range of a file, and the application takes whole ones; HTTP status 400.

    RFC 9110 section 14.5 wants that said of a PUT, for it would replace a file by a part of it.

    content_range: the header's value.
    """

    ending = "unread"
    fault = "client"

    def __init__(self, content_range: str) -> None:
        self.content_range = content_range
        super().__init__(
            f"The request body is a part of a file alone ({_in_words(content_range)}), where "
            "whole files are stored."
        )


class UnsafePath(RequestError, BadRequest):
    """The name of a file that a client gave is none that may be used; HTTP status 400."""

    ending = "unread"
    fault = "client"


class TooManyUploads(RequestError, ServiceUnavailable):
    """The server, or this client, has as many uploads as it may have; HTTP status 503.

    whose: "this server" or "this client".
    limit: how many uploads at once those may be.
    """

    ending = "turned_away"
    fault = "server"

    def __init__(self, whose: str, limit: int, retry_after: int) -> None:
        self.limit = limit
        super().__init__(
            f"Too many uploads at once: {whose} may have {limit:,}. Try again in a while.",
            retry_after=retry_after,
        )


class WorkerEnding(RequestError, ServiceUnavailable):
    """The worker is being stopped and could not wait any longer; HTTP status 503."""

    ending = "killed"
    fault = "server"

    def __init__(self) -> None:
        super().__init__(
            "The server is being restarted before the request was finished. Try again.",
            retry_after=1,
        )


class StorageError(RequestError, OSError):
    """What was received can't be stored. Its errno and strerror are the system's.

    HTTP status 500: no permission, a read-only file system, a broken disk. For what can be had
    again StorageError(error) makes one of the subclasses, so that error handlers find each by
    its status.
    """

    ending = "not_stored"
    fault: ClassVar[Literal["server", "operator"]] = "server"
    code = 500
    description = "The server can't store the upload: its storage does not work."

    def __new__(cls, error: OSError) -> StorageError:
        return super().__new__(_FOR_WANT_OF_ROOM.get(error.errno or 0, cls))

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.errno = error.errno
        self.strerror = error.strerror
        self.filename = error.filename

    def __str__(self) -> str:
        # The path is for the log and not for the client, whose text is the description.
        where = "" if self.filename is None else f": {os.fspath(self.filename)!r}"
        return f"{self.description} [Errno {self.errno}] {self.strerror}{where}"


class StorageFull(StorageError):
    """No space left, or no quota; HTTP status 507."""

    code = 507
    description = "The server can't store the upload: there is no space left for it."


class FileTooLarge(StorageError):
    """Larger than a file that this process may write; HTTP status 413."""

    code = 413
    description = "The upload is larger than any file that the server may write."


class StorageBusy(StorageError):
    """No descriptors or no memory left; HTTP status 503."""

    code = 503
    description = "The server can't store the upload now: it has no descriptor or memory left."


class StorageUnavailable(StorageError):
    """A store on another machine does not answer, or too slowly, or says so; HTTP status 503.

    retry_after: seconds that the answer's Retry-After names. The call was tried again for a while
        before, so the fault is none of a moment.
    """

    code = 503
    retry_after: ClassVar[int] = 10
    description = "The server can't store the upload now: its storage is out of reach. Try again."

    def get_headers(self, *where: Any, **more: Any) -> list[tuple[str, str]]:
        """Those of its response."""
        return [*super().get_headers(*where, **more), ("Retry-After", str(self.retry_after))]


class StorageRefused(StorageError):
    """A store does not take what this server sends: no such bucket, no right; HTTP status 500."""

    fault = "operator"
    description = "The server can't store the upload: its storage refuses it."


class StoredDiffers(StorageError):
    """What a store says it has is not what it was sent; HTTP status 500. Nothing is kept."""

    description = "The server could not store the upload as it was sent."


class AlreadyStored(RequestError, Conflict):
    """There is an object of that key, and it may not be replaced; HTTP status 409.

    key: the object's.
    """

    ending = "not_stored"
    fault = "client"

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"There is a {key!r} already, and it is not to be replaced.")


class NotStored(RequestError, NotFound):
    """There is no such object, or no such writing any more; HTTP status 404.

    key: the object's.
    """

    ending = "not_stored"
    fault = "client"

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"There is no {key!r}.")


_FOR_WANT_OF_ROOM: dict[int, type[StorageError]] = {
    errno.ENOSPC: StorageFull,
    errno.EDQUOT: StorageFull,
    errno.EFBIG: FileTooLarge,
    errno.EMFILE: StorageBusy,
    errno.ENFILE: StorageBusy,
    errno.ENOMEM: StorageBusy,
}


def is_for_want_of_room(error: OSError) -> bool:
    """Whether no place of the application's choice is at fault, but a lack of something."""
    return error.errno in _FOR_WANT_OF_ROOM


def _in_words(content_range: str) -> str:
    """Which bytes a Content-Range means, or the header as it is."""
    parsed = parse_content_range_header(content_range)
    if parsed is None or parsed.start is None or parsed.stop is None:
        return f"Content-Range: {content_range}"
    of = "" if parsed.length is None else f" of {parsed.length:,}"
    return f"{parsed.units} {parsed.start:,} to {parsed.stop - 1:,}{of}"


def progress(received: int, expected: int | None) -> str:
    """How much of a body came, in words."""
    return f"{received:,} bytes" if expected is None else f"{received:,} of {expected:,} bytes"
