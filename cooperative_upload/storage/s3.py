"""S3Storage: objects in a bucket of S3, or of a store that speaks its language.

A deposit of less than a part is one PutObject. All else is a multipart upload, whose id is in the
token. A writer sends what is a whole part as that part, so that again is harmless; what begins or
ends in the middle of one it stores as an object of its own (s3_keys.py), and has the part composed
of such pieces as soon as they cover it, at the commit at the latest. Nothing is known here of a
writing but its token: ListParts and the names of the pieces tell the rest.

S3 is sent a CRC32C with each part, which it compares with what arrived. Payloads are not signed,
for that would be a SHA-256 of each part before its first byte can be sent.
"""

from __future__ import annotations

import datetime
import errno
from collections.abc import Iterator, Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import FileTooLarge, SettingsError
from ..settings import UploadSettings
from ..settings_in_force import settings_in_force
from .contract import (
    UNDESCRIBED,
    Content,
    Deposit,
    Description,
    RangeWriter,
    Stored,
    Token,
)
from .form_files import StorageObjects
from .part_buffer import PartBuffer
from .parts import MIB, S3_LIMITS, PartLimits, Parts, TooLargeForParts, planned
from .piece_writer import Piece
from .ranges import Ranges
from .remote_deposit import RemoteDeposit
from .s3_calls import S3Calls
from .s3_content import S3Content
from .s3_keys import HIDDEN
from .s3_objects import S3Objects
from .s3_signing import signed_url
from .s3_writings import S3RangeWriter, S3Writings

# Bytes of a part where the limits leave the choice: boto3's and the AWS command line's own.
PART_BYTES = 8 * MIB


class S3Storage(StorageObjects):
    """A bucket, or what is below a prefix of it. Make one for each process; see contract.Storage.

    bucket: its name. It is not looked at before it is used.
    prefix: of all keys, and a slash behind it.
    part_bytes: of a part, where the size of the object leaves the choice.
    equal_parts: whether the store takes parts of one size only (Cloudflare R2). An object whose
        size nobody knows can then have 10,000 parts of part_bytes at the most.
    checksums: whether the store knows CRC32C: AWS has since 2022.
    settings: None for those of the process.
    profile, region: of boto3's files of configuration; None for what its chain finds.
    client: arguments of boto3's Session.client: endpoint_url, verify, aws_access_key_id, config.
    """

    limits: PartLimits = S3_LIMITS

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        part_bytes: int = PART_BYTES,
        equal_parts: bool = False,
        checksums: bool = True,
        settings: UploadSettings | None = None,
        profile: str | None = None,
        region: str | None = None,
        **client: Any,
    ) -> None:
        self._part_bytes = part_bytes
        self._equal_parts = equal_parts
        self._settings = settings or settings_in_force()
        self.part_digests: tuple[str, ...] = ("crc32c",) if checksums else ()
        session = {"profile_name": profile, "region_name": region}
        self._calls = S3Calls(bucket, session, client, self._settings)
        folder = prefix.strip("/")
        self._objects = S3Objects(self._calls, f"{folder}/" if folder else "")
        self._writings = S3Writings(self._objects, self.part_digests, self._settings)

    def deposit(
        self, key: str, *, size: int | None = None, description: Description = UNDESCRIBED
    ) -> Deposit:
        """For content that one request brings."""
        self._objects.name(key)
        return RemoteDeposit(self, key, size, description, self._settings)

    def begin(
        self, key: str, *, size: int | None = None, description: Description = UNDESCRIBED
    ) -> Token:
        """Begin a multipart upload."""
        return self._writings.begin(key, size, self.parts_of(size), description)

    def writer(self, token: Token, offset: int) -> RangeWriter:
        """For the bytes of a writing from `offset` on."""
        return S3RangeWriter(
            self._writings, token, offset, self.limits, self.part_digests, self._settings
        )

    def durable(self, token: Token) -> Ranges:
        """What S3 lists."""
        return self._writings.durable(token)

    def commit(
        self,
        token: Token,
        size: int,
        *,
        overwrite: bool = False,
        digests: Mapping[str, bytes] | None = None,
    ) -> Stored:
        """Complete the multipart upload. Of the digests S3 can check crc32c."""
        return self._writings.commit(token, size, overwrite, digests or {})

    def abort(self, token: Token) -> None:
        """End the multipart upload, and remove its pieces."""
        self._writings.abort(token)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Content:
        """Bytes of an object."""
        name = self._objects.name(key)
        return S3Content(self._calls, name, key, start, stop, self._settings)

    def stat(self, key: str) -> Stored:
        """What a HEAD tells."""
        return self._objects.look(key)[0]

    def delete(self, key: str) -> None:
        """Take an object away. In a bucket with versions S3 keeps the old one."""
        self._objects.remove([self._objects.name(key)])

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Objects in the order of their keys."""
        own = self._objects.prefix
        for entry in self._objects.entries(own + prefix):
            key = entry["Key"].removeprefix(own)
            if not key.startswith(HIDDEN):
                yield Stored(key, entry["Size"], entry["LastModified"], entry.get("ETag"))

    def sign(
        self,
        key: str,
        method: Literal["GET", "PUT"] = "GET",
        *,
        seconds: float = 3600.0,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """A presigned URL. Raises ValueError for a header that S3's operation does not have."""
        name = self._objects.name(key)
        return signed_url(self._calls, name, method, seconds, headers or {})

    def leftovers(self, older_than: datetime.timedelta) -> Iterator[Token]:
        """Multipart uploads of which neither a part nor a piece is younger. For abort() alone."""
        return self._writings.leftovers(older_than)

    def parts_of(self, size: int | None) -> Parts:
        """How an object is divided. Raises FileTooLarge."""
        try:
            return planned(
                size, self.limits, preferred=self._part_bytes, may_grow=not self._equal_parts
            )
        except TooLargeForParts as error:
            raise FileTooLarge(OSError(errno.EFBIG, str(error))) from None

    def put(
        self,
        key: str,
        content: PartBuffer,
        description: Description,
        overwrite: bool,
        digests: Mapping[str, bytes],
    ) -> Stored:
        """One PutObject, for a deposit."""
        return self._objects.put(key, content, description, overwrite, digests)

    def send(self, token: Token, piece: Piece) -> None:
        """One UploadPart, for a deposit."""
        self._writings.send(token, piece)


def from_url(url: str, **options: Any) -> S3Storage:
    """The one that s3://bucket/prefix names. Raises SettingsError.

    Its query may have endpoint_url, region and profile: s3://bucket?endpoint_url=https://host.
    options: those of S3Storage; they go before the query.
    """
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(given.keys() - {"endpoint_url", "region", "profile"})
    if not parts.netloc or parts.fragment:
        raise SettingsError(f"no storage {url!r}: expected s3://bucket/prefix")
    if unknown:
        raise SettingsError(f"no storage {url!r}: unknown {unknown[0]!r}")
    return S3Storage(parts.netloc, unquote(parts.path), **{**given, **options})
