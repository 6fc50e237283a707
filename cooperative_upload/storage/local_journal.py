"""The journal of a writing: its token, and which of its bytes are on the medium. Text alone.

It is only ever added to, also by several processes at once: each entry is one write of one line
with its checksum, and begins with a line feed too, so that one that was torn by a crash spoils
nobody else's.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Iterator
from typing import Any

from .ranges import Ranges


def entry(value: Any) -> bytes:
    """What is added: for a token, for a (start, stop), or for the size that it was cut to."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()
    return b"\n%s %08x\n" % (text, zlib.crc32(text))


def ranges_in(journal: bytes) -> Ranges:
    """Which bytes are durable, by all entries that are whole."""
    pairs: list[tuple[int, int]] = []
    for value in _values(journal):
        if type(value) is list:
            pairs.append((value[0], value[1]))
        elif type(value) is int:
            pairs = [(start, min(stop, value)) for start, stop in pairs]
    return Ranges.of(pairs)


def token_in(journal: bytes) -> dict[str, Any] | None:
    """The token; None if there is none that is whole."""
    return next((value for value in _values(journal) if type(value) is dict), None)


def _values(journal: bytes) -> Iterator[Any]:
    for line in journal.split(b"\n"):
        text, _, checksum = line.rpartition(b" ")
        with contextlib.suppress(ValueError):
            if int(checksum, 16) == zlib.crc32(text):
                yield json.loads(text)
