"""Multipart uploads of S3: their parts, and the pieces that wait for the rest of their part.

Nothing is known of one but its token: ListParts and the names of the pieces tell the rest.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import NotStored, StoredDiffers
from ..settings import UploadSettings
from .contract import Description, Stored, Token
from .part_buffer import PartBuffer
from .parts import PartLimits, Parts
from .piece_writer import Piece, PieceWriter
from .ranges import Ranges
from .s3_content import S3Content
from .s3_keys import StagedPiece, covering, staged_name, staged_pieces, staged_prefix
from .s3_objects import S3Objects, checksum_of, compare, described, new_id, unless, whole_checksum
from .transfers import parts_memory

_PARTS_FOLLOWING = {"PartNumberMarker": "NextPartNumberMarker"}
_UPLOADS_FOLLOWING = {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"}


class S3Writings:
    """Those of the objects below a prefix.

    part_digests: what is computed of each part, and sent with it.
    """

    def __init__(
        self, objects: S3Objects, part_digests: tuple[str, ...], settings: UploadSettings
    ) -> None:
        self._objects = objects
        self._calls = objects.calls
        self._part_digests = part_digests
        self._settings = settings

    def begin(self, key: str, size: int | None, parts: Parts, description: Description) -> Token:
        """CreateMultipartUpload."""
        made_by = new_id()
        parameters = described(description, made_by)
        if self._part_digests:
            # Of the whole, since some stores list parts without the checksums that they would
            # have to be told again of each part at the end.
            parameters |= {"ChecksumAlgorithm": "CRC32C", "ChecksumType": "FULL_OBJECT"}
        name = self._objects.name(key)
        answer = self._calls("create_multipart_upload", key=key, Key=name, **parameters)
        return {
            "storage": "s3",
            "key": key,
            "upload": answer["UploadId"],
            "id": made_by,
            "size": size,
            "part_bytes": parts.first,
            "doubled_after": parts.doubled_after,
        }

    def durable(self, token: Token) -> Ranges:
        """What S3 lists."""
        # Pieces first: one of which a part is made in between is found twice then, and not never.
        staged = _bytes_of(self._staged(token))
        return staged | self._parts_ranges(token, self._listed_parts(token))

    def commit(
        self, token: Token, size: int, overwrite: bool, digests: Mapping[str, bytes]
    ) -> Stored:
        """CompleteMultipartUpload, or what that returned before."""
        staged = self._staged(token)
        try:
            listed = self._listed_parts(token)
        except NotStored:
            return self._committed_before(token)
        here = _bytes_of(staged) | self._parts_ranges(token, listed)
        if not here.cover(0, size):
            missing = here.missing(size).total
            raise ValueError(f"{missing:,} of {size:,} bytes are missing")
        if self._compose_all(token, size, listed, staged):
            listed = self._listed_parts(token)
        numbers = range(1, _parts(token).count(size) + 1)
        parts = [listed[number] for number in numbers]
        checksum = whole_checksum(digests) if self._part_digests else {}
        stored = self._complete(token, parts, {**unless(overwrite), **checksum})
        self._remove_pieces(staged)
        if stored.size != size:
            self._objects.remove([self._objects.name(token["key"])])
            raise StoredDiffers(
                OSError(errno.EIO, f"{stored.size:,} bytes are stored of {size:,}")
            )
        return stored

    def abort(self, token: Token) -> None:
        """End the multipart upload, and remove the pieces."""
        with contextlib.suppress(NotStored):
            self._calls("abort_multipart_upload", **self._upload(token))
        self._remove_pieces(self._staged(token))

    def send(self, token: Token, piece: Piece) -> None:
        """UploadPart."""
        self._upload_part(token, piece.number, piece.content)

    def stage(self, token: Token, piece: Piece) -> None:
        """Keep what is less than a part."""
        where = (token["upload"], piece.number, piece.start, piece.stop)
        name = staged_name(self._objects.prefix, *where)
        self._objects.put_piece(token["key"], name, piece.content)

    def settle_staged(self, token: Token, numbers: set[int]) -> None:
        """Have the parts composed that are covered by pieces now. Raises NotStored.

        The writing may have ended while a piece was stored, which then belongs to nobody.
        """
        try:
            self._calls("list_parts", MaxParts=1, **self._upload(token))
        except NotStored:
            self._remove_pieces(self._staged(token))
            raise
        for number in sorted(numbers):
            start, stop = _parts(token).bounds(number, token["size"])
            staged = self._staged(token, number)
            if stop > start and covering(staged, start, stop) is not None:
                with self._unless_done_by_another(token, number):
                    self._compose(token, number, start, stop, staged)
                self._remove_pieces(staged)

    def leftovers(self, older_than: datetime.timedelta) -> Iterator[Token]:
        """Those of which neither a part nor a piece is younger. For abort() alone."""
        until = datetime.datetime.now(datetime.timezone.utc) - older_than
        pages = self._calls.pages(
            "list_multipart_uploads", _UPLOADS_FOLLOWING, Prefix=self._objects.prefix
        )
        for upload in [upload for page in pages for upload in page.get("Uploads", ())]:
            token = {
                "storage": "s3",
                "key": upload["Key"].removeprefix(self._objects.prefix),
                "upload": upload["UploadId"],
            }
            if upload["Initiated"] <= until and self._last_used(token) <= until:
                yield token

    @contextlib.contextmanager
    def _unless_done_by_another(self, token: Token, number: int) -> Iterator[None]:
        """A piece that is gone may have become a part by the writer of its other half."""
        try:
            yield
        except NotStored:
            if number not in self._listed_parts(token):
                raise

    def _compose_all(
        self, token: Token, size: int, listed: Mapping[int, Any], staged: list[StagedPiece]
    ) -> bool:
        """Have each part that is not there as it has to be made of its pieces; whether any was."""
        composed = False
        parts = _parts(token)
        for number in range(1, parts.count(size) + 1):
            start, stop = parts.bounds(number, size)
            if number in listed and listed[number]["Size"] == stop - start:
                continue
            own = [piece for piece in staged if piece.number == number]
            self._compose(token, number, start, stop, own)
            composed = True
        return composed

    def _compose(
        self, token: Token, number: int, start: int, stop: int, staged: list[StagedPiece]
    ) -> None:
        chosen = covering(staged, start, stop)
        if chosen is None:
            raise ValueError(f"part {number:,} is longer than it may be")
        if len(chosen) == 1 and (chosen[0].start, chosen[0].stop) == (start, stop):
            self._calls(
                "upload_part_copy",
                PartNumber=number,
                CopySource={"Bucket": self._calls.bucket, "Key": chosen[0].name},
                **self._upload(token),
            )
            return
        settings = self._settings
        with contextlib.closing(
            PartBuffer(parts_memory(settings), settings, self._part_digests)
        ) as content:
            at = start
            for piece in chosen:
                end = min(piece.stop, stop)
                self._read_into(content, token["key"], piece, at, end)
                at = end
            self._upload_part(token, number, content)

    def _read_into(
        self, content: PartBuffer, key: str, piece: StagedPiece, start: int, stop: int
    ) -> None:
        own = (start - piece.start, stop - piece.start)
        with S3Content(self._calls, piece.name, key, *own, self._settings) as stored:
            for block in stored.blocks():
                content.append(block)

    def _upload_part(self, token: Token, number: int, content: PartBuffer) -> None:
        checksum: dict[str, Any] = checksum_of(content.seal())
        answer = self._calls(
            "upload_part",
            body=content.reader,
            PartNumber=number,
            ContentLength=content.size,
            **checksum,
            **self._upload(token),
        )
        compare(checksum, answer, "UploadPart")

    def _complete(self, token: Token, listed: list[Any], more: Mapping[str, str]) -> Stored:
        parts = [{name: part[name] for name in ("PartNumber", "ETag")} for part in listed]
        parameters: dict[str, Any] = {**more, **self._upload(token)}
        try:
            with self._objects.known_again(token["key"], token["id"]):
                self._calls(
                    "complete_multipart_upload", MultipartUpload={"Parts": parts}, **parameters
                )
        except NotStored:
            return self._committed_before(token)
        return self._objects.look(token["key"])[0]

    def _committed_before(self, token: Token) -> Stored:
        """What the writing has become, whose multipart upload is there no more."""
        with contextlib.suppress(NotStored):
            stored, made_by = self._objects.look(token["key"])
            if made_by == token.get("id"):
                self._remove_pieces(self._staged(token))
                return stored
        raise NotStored(token["key"])

    def _listed_parts(self, token: Token) -> dict[int, dict[str, Any]]:
        """By their numbers. Raises NotStored."""
        pages = self._calls.pages("list_parts", _PARTS_FOLLOWING, **self._upload(token))
        return {part["PartNumber"]: part for page in pages for part in page.get("Parts", ())}

    def _parts_ranges(self, token: Token, listed: Mapping[int, Any]) -> Ranges:
        parts = _parts(token)
        starts = ((parts.bounds(number)[0], part["Size"]) for number, part in listed.items())
        return Ranges.of((start, start + size) for start, size in starts)

    def _staged(self, token: Token, number: int | None = None) -> list[StagedPiece]:
        prefix = staged_prefix(self._objects.prefix, token["upload"], number)
        return staged_pieces(entry["Key"] for entry in self._objects.entries(prefix))

    def _remove_pieces(self, staged: Iterable[StagedPiece]) -> None:
        self._objects.remove(piece.name for piece in staged)

    def _last_used(self, token: Token) -> datetime.datetime:
        """When its last part or piece came; the beginning of time if there is none."""
        prefix = staged_prefix(self._objects.prefix, token["upload"])
        times = [entry["LastModified"] for entry in self._objects.entries(prefix)]
        with contextlib.suppress(NotStored):
            times += [part["LastModified"] for part in self._listed_parts(token).values()]
        return max(times, default=datetime.datetime.min.replace(tzinfo=datetime.timezone.utc))

    def _upload(self, token: Token) -> dict[str, Any]:
        """What names a multipart upload in a call."""
        name = self._objects.name(token["key"])
        return {"key": token["key"], "Key": name, "UploadId": token["upload"]}


class S3RangeWriter:
    """See the contract."""

    def __init__(
        self,
        writings: S3Writings,
        token: Token,
        offset: int,
        limits: PartLimits,
        part_digests: tuple[str, ...],
        settings: UploadSettings,
    ) -> None:
        self._writings = writings
        self._token = token
        self._offset = offset
        self._parts = _parts(token)
        self._staged: set[int] = set()
        most = self._parts.most_bytes(limits)
        self._writer = PieceWriter(self._parts, offset, most, self._send, settings, part_digests)

    def __enter__(self) -> S3RangeWriter:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def write(self, block: bytes, /) -> int:
        """Add the next bytes."""
        return self._writer.write(block)

    def finish(self) -> Ranges:
        """Make durable what is less than a part, too."""
        self._writer.finish()
        if self._staged:
            self._writings.settle_staged(self._token, self._staged)
            self._staged.clear()
        return Ranges.of([(self._offset, self._writer.end)])

    def close(self) -> None:
        """Drop what is not durable yet."""
        self._writer.close()

    def _send(self, piece: Piece) -> None:
        whole = self._parts.bounds(piece.number, self._token["size"])
        if (piece.start, piece.stop) == whole:
            self._writings.send(self._token, piece)
        else:
            self._writings.stage(self._token, piece)
            self._staged.add(piece.number)


def _parts(token: Token) -> Parts:
    return Parts(token["part_bytes"], token["doubled_after"])


def _bytes_of(staged: Iterable[StagedPiece]) -> Ranges:
    return Ranges.of((piece.start, piece.stop) for piece in staged)
