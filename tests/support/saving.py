"""The ways in which a file may come to its name, and how the outcome is compared with open()'s.

The model is `open(path, "wb")`: each case is set up twice, written once by it and once by the
function under test, and the two results are compared.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool.temporary_file import Spool

CONTENT = b"the new content" * 100
Save = Callable[[Any], None]


def by_link(path: Any) -> None:
    """A spool on disk that gives its file away."""
    with spool_on_disk() as spool:
        spool.move_to(path)


def by_copy(path: Any) -> None:
    """One that keeps it."""
    with spool_on_disk() as spool:
        spool.save_to(path)


def from_memory(path: Any) -> None:
    """A spool that never came to disk."""
    with spool_in_memory() as spool:
        spool.save_to(path)


def moved_from_memory(path: Any) -> None:
    """Has nothing to give away."""
    with spool_in_memory() as spool:
        spool.move_to(path)


def by_open(path: Any) -> None:
    """The model."""
    with open(path, "wb") as file:
        file.write(CONTENT)


def spool_on_disk() -> Spool:
    return spool_of(0)


def spool_in_memory() -> Spool:
    return spool_of(1 << 20)


def spool_of(memory: int) -> Spool:
    spool = Spool(UploadSettings(spool_memory_bytes=memory))
    spool.write(CONTENT)
    spool.seek(0)
    return spool


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def compare(save: Save, directory: Path, prepare: Callable[[Path], Path]) -> None:
    """`prepare` sets a directory up and names the path; both ways end in the same directory, or
    in the same error."""
    results = []
    for name, way in (("model", by_open), ("ours", save)):
        place = directory / name
        place.mkdir()
        path = prepare(place)
        error: OSError | None = None
        try:
            way(path)
        except OSError as raised:
            error = raised
        results.append((description(place), error and error.errno))
        place.chmod(0o755)
    assert results[0] == results[1]


def description(place: Path) -> list[tuple[str, str, int, bytes | None]]:
    """Each entry of a directory: name, kind or target, mode, content."""
    found = []
    for path in sorted(place.rglob("*")):
        kind = os.readlink(path) if path.is_symlink() else str(stat.S_IFMT(path.lstat().st_mode))
        content = path.read_bytes() if path.is_file() else None
        found.append(
            (str(path.relative_to(place)), kind, stat.S_IMODE(path.lstat().st_mode), content)
        )
    return found


def existing_file(place: Path) -> Path:
    (place / "file").write_bytes(b"old")
    (place / "file").chmod(0o640)
    return place / "file"
