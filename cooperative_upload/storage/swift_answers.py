"""What Swift's answers mean, and how objects are described to it. No I/O.

https://docs.openstack.org/api-ref/object-store/
"""

from __future__ import annotations

import datetime
import email.utils
import errno
import json
import math
import string
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from ..errors import (
    StorageError,
    StorageFull,
    StorageRefused,
    StorageUnavailable,
    StoredDiffers,
)
from .contract import Description, Stored

# Too many requests, by the ratelimit middleware (498) and others; time-outs on either side; and
# every 5xx, which are those of single nodes.
_FOR_A_WHILE = frozenset({408, 429, 498, 499})

OCTET_STREAM = "application/octet-stream"

# Which writing made an object, so that a commit that is made again knows its own.
ID_HEADER = "x-object-meta-cooperative-upload"

_META = "x-object-meta-"

# Headers are no place for Unicode, and blanks at the ends of one are lost.
_READABLE = string.punctuation.replace("%", "")


def failure(status: int, request: str, text: str = "") -> StorageError:
    """The error of a request that got this status.

    request: its method and path, for the log; text: what the answer says.
    """
    said = f"{request}: {status}" + (f" {' '.join(text.split())[:200]}" if text else "")
    # The quota middlewares say 413, and a node without room, or with one, 507.
    if status in (413, 507):
        return StorageFull(OSError(errno.ENOSPC, said))
    if status == 422:
        return StoredDiffers(OSError(errno.EIO, said))
    if status in _FOR_A_WHILE or status >= 500:
        return StorageUnavailable(OSError(errno.EIO, said))
    return StorageRefused(OSError(errno.EACCES if status in (401, 403) else errno.EINVAL, said))


def outcome(status: int, body: bytes) -> tuple[int, str]:
    """(status, text) of a request that was answered before it was carried out.

    Those that take long (manifests, bulk deletes) have their status in the body, behind white
    space that keeps the connection open; other versions have it where it belongs.
    """
    text = body.decode(errors="replace").strip()
    if not text.startswith("{"):
        return status, text
    said = json.loads(text)
    status = int(str(said.get("Response Status", status)).split()[0])
    errors = "; ".join(f"{name}: {reason}" for name, reason in said.get("Errors", []))
    return status, errors or str(said.get("Response Body", ""))


def headers_of(description: Description, writing: str) -> dict[str, str]:
    """What a PUT says of an object."""
    headers = {
        "Content-Type": description.content_type or OCTET_STREAM,
        ID_HEADER: writing,
    }
    for name, value in description.metadata.items():
        headers[f"{_META}{name}"] = quote(value, safe=_READABLE)
    return headers


def stored_of(key: str, headers: Mapping[str, str], size: int) -> Stored:
    """What the headers of an answer, by names in lower case, say of an object of that size."""
    metadata = {
        name.removeprefix(_META): unquote(value)
        for name, value in headers.items()
        if name.startswith(_META) and name != ID_HEADER
    }
    etag = headers.get("etag", "").strip('"')
    is_large = "x-static-large-object" in headers or "x-object-manifest" in headers
    return Stored(
        key,
        size,
        email.utils.parsedate_to_datetime(headers["last-modified"]),
        etag or None,
        headers.get("content-type"),
        metadata,
        {} if is_large or not etag else {"md5": bytes.fromhex(etag)},
    )


def listed(key: str, line: Mapping[str, Any]) -> Stored:
    """What one line of a listing says of an object."""
    # As the headers tell it, which round up.
    seconds = math.ceil(modified(line).timestamp())
    etag = line.get("slo_etag", line["hash"]).strip('"')
    return Stored(
        key, line["bytes"], datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc), etag
    )


def modified(line: Mapping[str, Any]) -> datetime.datetime:
    """When what a line of a listing names was last written."""
    told = datetime.datetime.fromisoformat(line["last_modified"])
    return told.replace(tzinfo=datetime.timezone.utc)
