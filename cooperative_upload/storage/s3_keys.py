"""Names in a bucket: keys of objects, and those of pieces that wait for the rest of their part.

The bytes of a writing that are less than a part are kept as objects of their own, below a prefix
that no key may begin with:

    PREFIX.cooperative-upload/WRITING/PART/START-STOP

so that listing the objects of a part tells which of its bytes are there.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import UnsafePath
from .keys import check_key

HIDDEN = ".cooperative-upload/"

_STAGED = re.compile(r"(\d{5})/(\d{15})-(\d{15})\Z")


def checked_key(key: str, prefix: str) -> str:
    """The name of an object in its bucket. Raises UnsafePath.

    Refused is also what S3 would take and could not give back through every tool: empty segments,
    which gateways to file systems leave out; backslashes, of which SeaweedFS makes slashes; and
    characters that have no place in XML, which listings are made of.
    """
    check_key(prefix + key)
    if "" in key.split("/"):
        raise UnsafePath("The name has nothing between two slashes, or at its beginning or end.")
    if "\\" in key:
        raise UnsafePath("The name has a backslash.")
    if any(unicodedata.category(character) == "Cc" for character in key):
        raise UnsafePath("The name has a control character.")
    if key.startswith(HIDDEN):
        raise UnsafePath(f"Names that begin with {HIDDEN!r} are the storage's own.")
    return prefix + key


@dataclass(frozen=True)
class StagedPiece:
    """Bytes of a part that were stored by themselves.

    name: in the bucket.
    """

    name: str
    number: int
    start: int
    stop: int


def staged_prefix(prefix: str, upload: str, number: int | None = None) -> str:
    """Where the pieces of a writing are, or those of one part of it.

    upload: the id that S3 gave the multipart upload. The name is made of it, so that whoever finds
        the upload in the bucket's list finds its pieces.
    """
    writing = hashlib.sha256(upload.encode()).hexdigest()[:32]
    part = "" if number is None else f"{number:05d}/"
    return f"{prefix}{HIDDEN}{writing}/{part}"


def staged_name(prefix: str, upload: str, number: int, start: int, stop: int) -> str:
    """Of one piece."""
    return f"{staged_prefix(prefix, upload, number)}{start:015d}-{stop:015d}"


def staged_pieces(names: Iterable[str]) -> list[StagedPiece]:
    """Those that are pieces, by their names."""
    found = [(name, _STAGED.search(name)) for name in names]
    return [StagedPiece(name, int(m[1]), int(m[2]), int(m[3])) for name, m in found if m]


def covering(pieces: Iterable[StagedPiece], start: int, stop: int) -> list[StagedPiece] | None:
    """The fewest pieces that have all bytes from `start` to before `stop`, in their order.

    Of two that follow, the second may begin before the first ends. None if bytes are missing.
    """
    left = sorted(pieces, key=lambda piece: piece.start)
    chosen: list[StagedPiece] = []
    at = start
    while at < stop:
        reaching = [piece for piece in left if piece.start <= at < piece.stop]
        if not reaching:
            return None
        chosen.append(max(reaching, key=lambda piece: piece.stop))
        at = chosen[-1].stop
    return chosen
