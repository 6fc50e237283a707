"""What can go wrong with an upload, split by who is at fault.

Every error of this package is an UploadError and names its fault: the *client* that sent the
body, or the *operator* who configured the server. A full or broken disk stays the OSError that
the system raised: its errno says more than a name of ours could.

A BodyError has to end well in each layer that may meet it, none of which knows this package:

* werkzeug and Flask turn an HTTPException into its response: it is a 400, with a sentence.
* werkzeug's form parser swallows a ValueError and goes on with an empty form (silent=True):
  it is none.
* WSGI code, Django and WebOb expect an OSError from a read that the client cut: it is one.
* gunicorn closes the connection without a traceback on an OSError with ECONNRESET: its errno
  is that.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Literal

from werkzeug.exceptions import ClientDisconnected


class UploadError(Exception):
    """Base of all errors of this package."""

    fault: ClassVar[Literal["client", "operator"]]


class SettingsError(UploadError, ValueError):
    """A setting has an unknown name or a value that makes no sense."""

    fault = "operator"


class BodyError(ClientDisconnected, UploadError, OSError):
    """The request body can't be had as the client announced it; HTTP status 400."""

    fault = "client"
    errno = errno.ECONNRESET


class IncompleteBody(BodyError):
    """The body ended before its announced end.

    received: bytes that had arrived.
    expected: bytes that Content-Length announced; None where the framing announces none
        (chunked transfer coding, RFC 9112 section 7.1).
    """

    def __init__(self, received: int, expected: int | None) -> None:
        self.received = received
        self.expected = expected
        announced = "" if expected is None else f" of {expected:,}"
        super().__init__(
            f"The request body is incomplete: received {received:,}{announced} bytes "
            "before the client stopped sending."
        )


class MalformedBody(BodyError):
    """The framing of the body breaks its protocol.

    received: bytes of the body that had been decoded before the fault.
    reason: what is wrong, in the words of the server's decoder.
    """

    def __init__(self, received: int, reason: str) -> None:
        self.received = received
        self.reason = reason
        super().__init__(
            f"The request body is malformed after {received:,} bytes: {reason.rstrip('.')}."
        )
