"""Digests of a body: which the client announced, and whether they are true.

Content-Digest and Repr-Digest are RFC 9530, Content-MD5 is RFC 1864 (obsolete, and still sent).
Of a whole body that is stored as it comes all three speak of the same bytes. Algorithms that are
unknown here are passed over, as RFC 9530 section 2 wants.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import DigestMismatch, MalformedBody


def _crc32c() -> Any:
    try:
        import google_crc32c
    except ImportError:
        raise ValueError("crc32c needs the package google-crc32c") from None
    checksum: Any = google_crc32c.Checksum
    return checksum()


def _unsafe_here(name: str) -> Callable[[], Any]:
    # Not for security: without the flag a build of Python in FIPS mode refuses them.
    return lambda: hashlib.new(name, usedforsecurity=False)


# The names of RFC 9530's registry, and what computes them.
ALGORITHMS: dict[str, Callable[[], Any]] = {
    "sha-256": hashlib.sha256,
    "sha-512": hashlib.sha512,
    "sha": _unsafe_here("sha1"),
    "md5": _unsafe_here("md5"),
    "crc32c": _crc32c,
}

# One member of a dictionary of byte sequences (RFC 8941 sections 3.2 and 3.3.5), whose
# parameters mean nothing here. A text among those may hold a comma.
_MEMBER = re.compile(
    r"[ \t]*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):"
    r"""(?:;(?:[^",]|"(?:[^"\\]|\\.)*")*)?[ \t]*(?:,|$)"""
)


def announced_digests(environ: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    """(algorithm, digest) of those in the request's headers that can be computed here.

    Raises MalformedBody for a header that can't be read.
    """
    found = []
    for header in ("HTTP_CONTENT_DIGEST", "HTTP_REPR_DIGEST"):
        found += _members(environ.get(header, ""))
    if md5 := environ.get("HTTP_CONTENT_MD5", ""):
        found.append(("md5", _decoded(md5)))
    return [(name, digest) for name, digest in found if can_compute(name)]


class Digests:
    """The digests of the bytes that go by.

    names: of ALGORITHMS. Raises ValueError for one that is unknown or can't be computed here.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._running: dict[str, Any] = {}
        for name in names:
            if name not in ALGORITHMS:
                known = ", ".join(ALGORITHMS)
                raise ValueError(f"unknown digest {name!r}: there are {known}")
            self._running[name] = ALGORITHMS[name]()

    @property
    def names(self) -> list[str]:
        """Which they are."""
        return list(self._running)

    def update(self, data: bytes) -> None:
        """Add the next bytes."""
        for running in self._running.values():
            running.update(data)

    def values(self) -> dict[str, bytes]:
        """The digests so far, by name."""
        return {name: running.digest() for name, running in self._running.items()}

    def check(self, announced: Iterable[tuple[str, bytes]]) -> None:
        """Raise DigestMismatch for the first announced one that is not the computed one."""
        values = self.values()
        for name, digest in announced:
            if values[name] != digest:
                raise DigestMismatch(name, digest, values[name])


def can_compute(name: str) -> bool:
    """Whether there is such a digest, and here what computes it."""
    try:
        Digests([name])
    except ValueError:
        return False
    return True


def _members(header: str) -> list[tuple[str, bytes]]:
    found = []
    position = 0
    while position < len(header):
        member = _MEMBER.match(header, position)
        if member is None:
            raise MalformedBody(0, f"this is no dictionary of digests (RFC 9530): {header!r}")
        found.append((member[1], _decoded(member[2])))
        position = member.end()
    return found


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error is one, and so is that of what is not ASCII
        raise MalformedBody(0, f"the digest is not base64: {text!r}") from None
