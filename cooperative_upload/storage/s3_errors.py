"""What S3 and its clients say when they fail, in the words of this package.

S3's codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

import errno
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    ResponseStreamingError,
    SSLError,
)
from botocore.exceptions import ConnectionError as NoConnection
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from ..errors import (
    AlreadyStored,
    FileTooLarge,
    NotStored,
    StorageError,
    StorageFull,
    StorageRefused,
    StorageUnavailable,
    StoredDiffers,
    UploadError,
)

# What a call to the store may raise.
FAILURES = (BotoCoreError, ClientError, HTTPError, ResponseParserError, OSError)

_DIFFERS = frozenset({"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch"})

# Worth another try, whatever status they come with.
_FOR_A_WHILE = frozenset(
    {
        "ConditionalRequestConflict",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
    }
)

_NOT_THERE = frozenset({"NoSuchKey", "NoSuchUpload", "404", "NotFound"})
_THERE = frozenset({"PreconditionFailed", "412"})
_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"})
_TOO_LARGE = frozenset({"EntityTooLarge", "MaxMessageLengthExceeded"})

_FAULTS_OF_A_CONNECTION = (
    NoConnection,
    HTTPClientError,
    HTTPError,
    IncompleteReadError,
    ResponseParserError,
    ResponseStreamingError,
    OSError,
)


def worth_another_try(error: Exception) -> float | None:
    """Seconds that the store wants to be left alone; None if it would fail again."""
    if own_error(error) is not None:
        return None
    if isinstance(error, ClientError):
        return _wait_for(error) if _is_for_a_while(error) else None
    return 0.0 if isinstance(error, _FAULTS_OF_A_CONNECTION) and not _is_refusal(error) else None


def translated(error: Exception, operation: str, key: str) -> Exception:
    """The error of this package for one of a call.

    operation: what was called, for the log.
    key: the object's.
    """
    own = own_error(error)
    if own is not None:
        return own
    if not isinstance(error, ClientError):
        kind = StorageUnavailable if worth_another_try(error) is not None else StorageRefused
        return _with_words(kind, operation, str(error))
    code, message = _code(error), str(error.response.get("Error", {}).get("Message", ""))
    if code in _NOT_THERE:
        return NotStored(key)
    if code in _THERE:
        return AlreadyStored(key)
    return _with_words(_kind(error, code), operation, f"{code}: {message}")


def own_error(error: Exception) -> UploadError | None:
    """What went wrong here, where botocore has wrapped it: the disk that a part lies on."""
    if isinstance(error, UploadError):
        return error
    inner = getattr(error, "kwargs", {}).get("error")
    return inner if isinstance(inner, UploadError) else None


def is_code(error: Exception, *codes: str) -> bool:
    """Whether the store answered with one of these."""
    return isinstance(error, ClientError) and _code(error) in codes


def _kind(error: ClientError, code: str) -> type[StorageError]:
    if code in _DIFFERS:
        return StoredDiffers
    if code in _FULL or _status(error) == 507:
        return StorageFull
    if code in _TOO_LARGE:
        return FileTooLarge
    return StorageUnavailable if _is_for_a_while(error) else StorageRefused


def _is_for_a_while(error: ClientError) -> bool:
    code, status = _code(error), _status(error)
    if code in _FULL or status in (501, 507):
        return False
    return code in _FOR_A_WHILE or status >= 500 or status in (408, 429)


def _is_refusal(error: Exception) -> bool:
    """A certificate that is not trusted stays so."""
    return isinstance(error, SSLError)


def _with_words(kind: type[StorageError], operation: str, words: str) -> StorageError:
    number = {
        StorageFull: errno.ENOSPC,
        StorageRefused: errno.EACCES,
        FileTooLarge: errno.EFBIG,
    }.get(kind, errno.EIO)
    return kind(OSError(number, f"{operation}: {words}"))


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(_metadata(error).get("HTTPStatusCode", 0))


def _wait_for(error: ClientError) -> float:
    """What Retry-After says in seconds; a date is taken for nothing."""
    text = _metadata(error).get("HTTPHeaders", {}).get("retry-after", "")
    return float(text) if str(text).isdecimal() else 0.0


def _metadata(error: ClientError) -> dict[str, Any]:
    found: dict[str, Any] = error.response.get("ResponseMetadata", {})
    return found
