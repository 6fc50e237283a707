"""What becomes of the stream whose content was saved."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from greenlets import hub_scheduler, hub_writer, in_greenlet
from saving import (
    CONTENT,
    by_copy,
    by_link,
    existing_file,
    from_memory,
    moved_from_memory,
    spool_in_memory,
    spool_of,
    spool_on_disk,
)

from cooperative_upload.spool.temporary_file import Spool


def inode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_nlink


@pytest.mark.parametrize("existing", [True, False])
def test_a_move_gives_the_file_away(directory: Path, existing: bool) -> None:
    """The spooled file itself has the name then, and its stream is closed."""
    path = existing_file(directory) if existing else directory / "file"
    spool = spool_on_disk()
    spooled = os.fstat(spool.fileno()).st_ino
    spool.move_to(path)
    assert inode(path) == (spooled, 1)
    assert path.read_bytes() == CONTENT
    for call in (spool.read, spool.tell, lambda: spool.move_to(path)):
        with pytest.raises(ValueError, match="closed file"):
            call()


def test_a_move_that_fails_leaves_the_stream(directory: Path) -> None:
    """The application may try another path."""
    for spool in (spool_on_disk(), spool_in_memory()):
        with spool, pytest.raises(FileNotFoundError):
            spool.move_to(directory / "missing" / "file")
        assert spool.closed
    with spool_on_disk() as spool:
        with pytest.raises(IsADirectoryError):
            spool.move_to(directory)
        assert spool.read() == CONTENT
        spool.seek(0)
        spool.move_to(directory / "file")
    assert (directory / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("way", ["save_to", "write_to"])
@pytest.mark.parametrize("make", [spool_on_disk, spool_in_memory])
def test_a_saved_file_is_not_the_streams(
    directory: Path, way: str, make: Callable[[], Spool]
) -> None:
    """Whatever happens to the one does not show in the other."""
    path = directory / "file"
    with make() as spool:
        getattr(spool, way)(path)
        with path.open("r+b") as file:
            file.write(b"XXX")
        os.utime(path)
        spool.seek(0)
        assert spool.read() == CONTENT
        getattr(spool, way)(directory / "at the end")
        assert (directory / "at the end").read_bytes() == b""
        spool.seek(0)
        spool.write(b"YYY")
        spool.truncate(3)
        assert path.read_bytes() == b"XXX" + CONTENT[3:]


@pytest.mark.parametrize("way", ["save_to", "write_to"])
def test_a_save_ends_at_the_end(directory: Path, way: str) -> None:
    """As a copy of the stream leaves it."""
    for make in (spool_in_memory, spool_on_disk):
        with make() as spool:
            getattr(spool, way)(directory / make.__name__)
            assert spool.tell() == len(CONTENT)
            assert spool.read() == b""


@pytest.mark.parametrize("memory", [0, 1 << 20])
@pytest.mark.parametrize("way", ["save_to", "write_to", "move_to"])
@pytest.mark.parametrize("start", [1, 700, len(CONTENT), len(CONTENT) + 5])
def test_a_save_begins_at_the_position(directory: Path, start: int, memory: int, way: str) -> None:
    """What was read before is not saved; the position is not moved back."""
    path = directory / "file"
    with spool_of(memory) as spool:
        spool.seek(start)
        getattr(spool, way)(path)
        assert path.read_bytes() == CONTENT[start:]
        if way != "move_to":
            assert spool.tell() == max(start, len(CONTENT))
            spool.seek(0)
            getattr(spool, way)(path)
            assert path.read_bytes() == CONTENT


def test_saving_in_a_greenlet(directory: Path) -> None:
    """The same through the writer's threads."""
    with hub_scheduler(), hub_writer():
        for number, way in enumerate([by_link, by_copy, from_memory, moved_from_memory]):
            path = directory / str(number)
            in_greenlet(lambda way=way, path=path: way(path))  # type: ignore[misc]
            assert path.read_bytes() == CONTENT
