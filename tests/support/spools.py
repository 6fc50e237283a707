"""What the tests of spools have in common: thresholds, content, and how to fill one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cooperative_upload.spool.temporary_file import Spool

MEMORY = 10_000
BATCH = 4096
Run = Callable[[Callable[[], Any]], Any]


def content(size: int) -> bytes:
    """Bytes whose blocks of eight tell their places."""
    return b"".join(number.to_bytes(8, "big") for number in range(size // 8 + 1))[:size]


def fill(spool: Spool, size: int) -> None:
    block = bytes(10_000)
    for _ in range(size // len(block)):
        spool.write(block)
    spool.seek(0)
