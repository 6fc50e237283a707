"""Whole objects of a bucket: made in one request, looked at, listed, removed."""

from __future__ import annotations

import base64
import contextlib
import errno
import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from ..errors import AlreadyStored, NotStored, StoredDiffers
from .contract import Description, Stored
from .part_buffer import PartBuffer
from .s3_calls import S3Calls
from .s3_keys import checked_key

# An object's metadata says which deposit or writing made it, so that one whose answer was lost can
# be told from somebody else's.
_MADE_BY = "cooperative-upload-id"

# What is left as it is in metadata: all that can be seen in ASCII but the percent sign.
_PLAIN = "".join(map(chr, range(33, 127))).replace("%", "")

_OBJECTS_FOLLOWING = {"ContinuationToken": "NextContinuationToken"}


class S3Objects:
    """Those below a prefix.

    prefix: of all names in the bucket, with its slash.
    """

    def __init__(self, calls: S3Calls, prefix: str) -> None:
        self.calls = calls
        self.prefix = prefix

    def name(self, key: str) -> str:
        """Of an object in the bucket. Raises UnsafePath."""
        return checked_key(key, self.prefix)

    def put(
        self,
        key: str,
        content: PartBuffer,
        description: Description,
        overwrite: bool,
        digests: Mapping[str, bytes],
    ) -> Stored:
        """Have one appear, in one request. Raises AlreadyStored."""
        made_by = new_id()
        checksum = checksum_of(content.seal())
        if "sha-256" in digests:  # S3 takes one of them
            checksum = {"ChecksumSHA256": _base64(digests["sha-256"])}
        parameters = {**checksum, **described(description, made_by), **unless(overwrite)}
        with self.known_again(key, made_by):
            self._put(key, self.name(key), content, checksum, parameters)
        return self.look(key)[0]

    def put_piece(self, key: str, name: str, content: PartBuffer) -> None:
        """Store bytes under a name of the storage's own, as often as it is asked for.

        key: for errors.
        """
        checksum = checksum_of(content.seal())
        self._put(key, name, content, checksum, checksum)

    def look(self, key: str) -> tuple[Stored, str | None]:
        """What there is, and which writing made it."""
        answer = self.calls("head_object", key=key, Key=self.name(key), ChecksumMode="ENABLED")
        metadata = {name: unquote(text) for name, text in answer.get("Metadata", {}).items()}
        made_by = metadata.pop(_MADE_BY, None)
        stored = Stored(
            key,
            answer["ContentLength"],
            answer["LastModified"],
            answer.get("ETag"),
            answer.get("ContentType"),
            metadata,
            _digests_of(answer),
        )
        return stored, made_by

    @contextlib.contextmanager
    def known_again(self, key: str, made_by: str) -> Iterator[None]:
        """An object that is there already may be that of a first try, whose answer was lost."""
        try:
            yield
        except AlreadyStored:
            with contextlib.suppress(NotStored):
                if self.look(key)[1] == made_by:
                    return
            raise

    def entries(self, prefix: str) -> Iterator[dict[str, Any]]:
        """What there is in the bucket whose name begins so."""
        for page in self.calls.pages("list_objects_v2", _OBJECTS_FOLLOWING, Prefix=prefix):
            yield from page.get("Contents", ())

    def remove(self, names: Iterable[str]) -> None:
        """Take them away, by their names in the bucket, as far as they are there."""
        for name in names:
            with contextlib.suppress(NotStored):
                self.calls("delete_object", Key=name)

    def _put(
        self,
        key: str,
        name: str,
        content: PartBuffer,
        checksum: Mapping[str, str],
        parameters: Mapping[str, Any],
    ) -> None:
        answer = self.calls(
            "put_object",
            key=key,
            body=content.reader,
            Key=name,
            ContentLength=content.size,
            **parameters,
        )
        compare(checksum, answer, "PutObject")


def new_id() -> str:
    """By which an object is known again."""
    return secrets.token_hex(16)


def described(description: Description, made_by: str) -> dict[str, Any]:
    """Parameters of what is said of an object: metadata goes as headers, which are ASCII."""
    metadata = {name: quote(text, safe=_PLAIN) for name, text in description.metadata.items()}
    found: dict[str, Any] = {"Metadata": {**metadata, _MADE_BY: made_by}}
    if description.content_type is not None:
        found["ContentType"] = description.content_type
    if description.public:
        found["ACL"] = "public-read"
    return found


def unless(overwrite: bool) -> dict[str, str]:
    """Parameters that say whether one that is there stays."""
    return {} if overwrite else {"IfNoneMatch": "*"}


def checksum_of(digests: Mapping[str, bytes]) -> dict[str, str]:
    """Parameters that have the store compare what arrives."""
    return {"ChecksumCRC32C": _base64(digests["crc32c"])} if "crc32c" in digests else {}


def compare(sent: Mapping[str, str], answer: Mapping[str, Any], operation: str) -> None:
    """What the store says it has with what was sent; many say nothing."""
    for name, value in sent.items():
        if answer.get(name, value) != value:
            words = f"{operation}: {name} is {answer[name]}, sent was {value}"
            raise StoredDiffers(OSError(errno.EIO, words))


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def whole_checksum(digests: Mapping[str, bytes]) -> dict[str, str]:
    """Parameters that have the store compare the whole of a multipart upload."""
    return {**checksum_of(digests), "ChecksumType": "FULL_OBJECT"} if "crc32c" in digests else {}


def _digests_of(answer: Mapping[str, Any]) -> dict[str, bytes]:
    """Those of the whole content; S3 also has digests of the digests of its parts."""
    if answer.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return {}
    names = {"crc32c": "ChecksumCRC32C", "sha-256": "ChecksumSHA256"}
    found = {name: answer[field] for name, field in names.items() if field in answer}
    return {name: base64.b64decode(text) for name, text in found.items() if "-" not in text}
