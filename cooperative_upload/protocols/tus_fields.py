"""The fields of tus 1.0.0 as values, and back. Pure: a field in, a value or a Problem out."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from werkzeug.http import http_date

from ..forms import ALGORITHMS, can_compute
from ..uploads import UploadTooLarge
from .problems import Problem

VERSION = "1.0.0"

# The names that tus has for algorithms, and those of RFC 9530. Clients know only the first of
# them; the others cost less than sha1 and say more.
_ALGORITHMS = {"sha1": "sha", "sha256": "sha-256", "crc32c": "crc32c"}

# No file is larger, and no column of a database holds more (signed 64 bits).
MOST_BYTES = 2**63 - 1

# What a request line and its fields may have in gunicorn (limit_request_field_size), so that what
# one server takes the next does not refuse.
MOST_METADATA_BYTES = 8190

_KEY = re.compile(r"[!-+\--~]+")  # printable ASCII without blank and comma


def size_in(field: str, name: str) -> int:
    """The bytes that a field says (Upload-Length, Upload-Offset). Raises Problem for other texts.

    More than a file can have is MOST_BYTES + 1, for whoever compares it with a limit.
    """
    if not (field.isascii() and field.isdigit()):
        raise Problem(400, f"{name} is no number of bytes", f"It is {shown(field)}.")
    digits = field.lstrip("0")
    return min(int(digits or "0"), MOST_BYTES + 1) if len(digits) < 20 else MOST_BYTES + 1


def length_in(field: str) -> int:
    """Upload-Length. Raises Problem, and UploadTooLarge for more than any file can have."""
    size = size_in(field, "Upload-Length")
    if size > MOST_BYTES:
        raise UploadTooLarge(MOST_BYTES, size)
    return size


def metadata_in(field: str) -> dict[str, str]:
    """Upload-Metadata: names and texts, in Unicode. Raises Problem.

    A value that is left out is an empty text.
    """
    if len(field) > MOST_METADATA_BYTES:
        raise Problem(
            431,
            "The metadata is too large",
            f"Upload-Metadata has {len(field):,} bytes, accepted are at most "
            f"{MOST_METADATA_BYTES:,}.",
            members={"limit": MOST_METADATA_BYTES, "received": len(field)},
        )
    found: dict[str, str] = {}
    for pair in field.split(",") if field.strip() else []:
        key, _, value = pair.strip(" \t").partition(" ")
        if not _KEY.fullmatch(key) or key in found:
            raise Problem(400, "Upload-Metadata can't be read", f"A key is {shown(key)}.")
        found[key] = _text_of(key, value.strip(" \t"))
    return found


def written_metadata(metadata: Mapping[str, str]) -> str:
    """Upload-Metadata for these; keys that can't be written there are left out."""
    pairs = []
    for key, value in metadata.items():
        if _KEY.fullmatch(key):
            encoded = base64.b64encode(value.encode()).decode()
            pairs.append(f"{key} {encoded}" if encoded else key)
    return ",".join(pairs)


def checksum_algorithms() -> list[str]:
    """Those that can be computed here, by tus' names."""
    return [name for name, ours in _ALGORITHMS.items() if can_compute(ours)]


def checksum_in(field: str) -> tuple[str, bytes]:
    """Upload-Checksum: the algorithm by its name in RFC 9530, and the digest. Raises Problem."""
    name, _, encoded = field.strip().partition(" ")
    known = checksum_algorithms()
    if name not in known:
        raise Problem(
            400,
            "Unsupported checksum algorithm",
            f"It is {shown(name)}; supported are {', '.join(known)}.",
        )
    algorithm = _ALGORITHMS[name]
    digest = _decoded(encoded.strip())
    size = len(ALGORITHMS[algorithm]().digest())
    if digest is None or len(digest) != size:
        raise Problem(
            400,
            "Upload-Checksum can't be read",
            f"Expected are {size} bytes in base64, got {shown(encoded)}.",
        )
    return algorithm, digest


@dataclass(frozen=True)
class Concatenation:
    """Upload-Concat.

    parts: the ids of the uploads that a final one is made of, in order; None for a partial one.
    """

    parts: tuple[str, ...] | None

    @property
    def is_final(self) -> bool:
        """Whether it is the whole of other uploads."""
        return self.parts is not None


def concatenation_in(field: str) -> Concatenation:
    """What Upload-Concat says. Raises Problem.

    A part is named by its URL, relative or absolute, of which the last segment is its id: what a
    proxy puts before that is not known here. That an id is one of this client's, the caller sees.
    """
    kind, separator, urls = field.strip().partition(";")
    if kind == "partial" and not separator:
        return Concatenation(None)
    parts = tuple(_last_segment(url) for url in urls.split())
    if kind != "final" or not parts or "" in parts:
        raise Problem(400, "Upload-Concat can't be read", f"It is {shown(field)}.")
    return Concatenation(parts)


def written_expiry(when: float) -> str:
    """Upload-Expires: a date as HTTP has it (RFC 9110 section 5.6.7).

    when: seconds since the epoch.
    """
    return http_date(when)


def shown(text: str) -> str:
    """A client's text as a message may have it."""
    return repr(text if len(text) <= 60 else text[:60] + "...")


def _last_segment(url: str) -> str:
    try:
        return urlsplit(url).path.rstrip("/").rpartition("/")[2]
    except ValueError:  # brackets that hold no address
        return ""


def _text_of(key: str, value: str) -> str:
    decoded = _decoded(value)
    try:
        text = None if decoded is None else decoded.decode()
    except UnicodeDecodeError:
        text = None
    if text is None or "\0" in text:  # which no database keeps in a text
        raise Problem(
            400,
            "Upload-Metadata can't be read",
            f"The value of {shown(key)} is no text in base64.",
        )
    return text


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error is one, and so is that of what is not ASCII
        return None
