"""The objects of a folder in the order of their keys."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import UnsafePath
from .contract import Stored
from .local_folder import HIDDEN, Folder
from .local_records import Record, stored_at

_STATUSES_AT_ONCE = 256

Run = Callable[[Callable[[], Any]], Any]
"""Has a thread call what may block, and returns what that returns."""


def listed(folder: Folder, prefix: str, run: Run) -> Iterator[Stored]:
    """Those whose keys begin with the prefix. What others put there and can't be asked for
    by a key is left out, and so is what lies behind symbolic links of directories."""
    batch: list[str] = []
    for key in _keys_below(folder, "", prefix, run):
        batch.append(key)
        if len(batch) == _STATUSES_AT_ONCE:
            yield from _described(folder, batch, run)
            batch = []
    yield from _described(folder, batch, run)


def _keys_below(folder: Folder, above: str, prefix: str, run: Run) -> Iterator[str]:
    directory = os.path.join(folder.root, above)
    for name in run(lambda: _names_in(directory)):
        key = above + name
        if key == f"{HIDDEN}/":
            continue
        if key.endswith("/"):
            if key.startswith(prefix) or prefix.startswith(key):
                yield from _keys_below(folder, key, prefix, run)
        elif key.startswith(prefix) and _is_key(folder, key):
            yield key


def _described(folder: Folder, keys: list[str], run: Run) -> Iterator[Stored]:
    paths = [os.path.join(folder.root, key) for key in keys]
    found = run(lambda: [_status(path) for path in paths]) if keys else []
    for key, status in zip(keys, found, strict=True):
        if status is not None:
            yield stored_at(key, status, Record())


def _names_in(directory: str) -> list[str]:
    """Those of a directory's entries, of directories with a slash, in order.

    So the keys are in order, too: "a.txt" comes before "a/b".
    """
    try:
        with os.scandir(directory) as entries:
            return sorted(
                found.name + "/" * found.is_dir(follow_symlinks=False) for found in entries
            )
    except (FileNotFoundError, NotADirectoryError):
        return []


def _status(path: str) -> os.stat_result | None:
    """That of a regular file; None for what is none, or not there any more."""
    with contextlib.suppress(OSError):
        found = os.stat(path)
        return found if stat.S_ISREG(found.st_mode) else None
    return None


def _is_key(folder: Folder, key: str) -> bool:
    try:
        folder.check(key)
    except UnsafePath:
        return False
    return True
