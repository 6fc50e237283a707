"""What a watcher of a directory is told about the files in it (inotify(7))."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_C: Any = ctypes.CDLL(None, use_errno=True)

_NAMES = {
    0x002: "modify",
    0x004: "attrib",
    0x008: "close_write",
    0x040: "moved_from",
    0x080: "moved_to",
    0x100: "create",
    0x200: "delete",
}


@contextlib.contextmanager
def watching(directory: Path) -> Iterator[Callable[[], list[tuple[str, str]]]]:
    """(event, name) of what happened in the directory so far; runs of one event are one."""
    descriptor = _C.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert descriptor >= 0, os.strerror(ctypes.get_errno())
    try:
        assert _C.inotify_add_watch(descriptor, os.fsencode(directory), sum(_NAMES)) >= 0
        yield lambda: [event for event, _ in itertools.groupby(_events(descriptor))]
    finally:
        os.close(descriptor)


def _events(descriptor: int) -> Iterator[tuple[str, str]]:
    with contextlib.suppress(BlockingIOError):
        while True:
            data = os.read(descriptor, 1 << 20)
            while data:
                _, mask, _, length = struct.unpack_from("iIII", data)
                name = data[16 : 16 + length].rstrip(b"\0")
                yield _NAMES.get(mask, hex(mask)), os.fsdecode(name)
                data = data[16 + length :]
