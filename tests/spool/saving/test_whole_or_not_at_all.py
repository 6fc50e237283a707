"""A saved file is there whole or not at all, and on the disk where that was asked for."""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from disk import open_files
from saving import CONTENT, Save, by_link, existing_file, spool_of, spool_on_disk
from unprivileged import give_to_nobody, open_directory, run_unprivileged

from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool import file_content
from cooperative_upload.spool.file_content import append
from cooperative_upload.spool.saving import written_whole
from cooperative_upload.spool.temporary_file import Spool

# Whole or not at all.


@pytest.mark.parametrize("existing", [b"old", None])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
@pytest.mark.parametrize("has_unnamed", [True, False])
def test_a_failure_leaves_all_as_it_was(
    directory: Path,
    existing: bytes | None,
    error: BaseException,
    has_unnamed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The old content, no temporary files, no open descriptors."""
    if not has_unnamed:
        monkeypatch.delattr(os, "O_TMPFILE")
    path = directory / "file"
    if existing is not None:
        path.write_bytes(existing)

    def fail(descriptor: int) -> Iterator[None]:
        append(descriptor, b"the beginning")
        yield
        raise error

    with pytest.raises(type(error)):
        list(written_whole(str(path), fail, fsync=False))
    assert (path.read_bytes() if path.exists() else None) == existing
    assert os.listdir(directory) == (["file"] if existing is not None else [])
    assert open_files(directory) == 0


@pytest.mark.parametrize("function", ["replace", "fsync", "fchmod"])
@pytest.mark.parametrize("has_unnamed", [True, False])
def test_a_failure_at_the_end(
    way: Save,
    directory: Path,
    function: str,
    has_unnamed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the last steps fail, the temporary name is taken away again."""
    if not has_unnamed:
        monkeypatch.delattr(os, "O_TMPFILE")
    path = existing_file(directory)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, function, fail)
    if function == "fsync":
        with spool_on_disk() as spool, pytest.raises(OSError, match="broken"):
            spool.save_to(path, fsync=True)
    else:
        with pytest.raises(OSError, match="broken"):
            way(path)
    assert os.listdir(directory) == ["file"]
    assert path.read_bytes() == b"old"
    assert open_files(directory) == 0


def test_nobody_sees_a_part(way: Save, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is written the destination has no name, or the old content."""
    path = existing_file(directory)
    seen: list[tuple[list[str], bytes]] = []
    real = file_content.append

    def watched(descriptor: int, data: bytes) -> None:
        for start in range(0, len(data), 500):
            real(descriptor, data[start : start + 500])
            seen.append((os.listdir(directory), path.read_bytes()))

    monkeypatch.setattr(file_content, "_copy_in_the_kernel", file_content._copy_by_reading)
    for name in ("file_content", "temporary_file"):
        monkeypatch.setattr(sys.modules[f"cooperative_upload.spool.{name}"], "append", watched)
    way(path)
    assert all(entry == (["file"], b"old") for entry in seen)
    assert seen or way is by_link
    assert path.read_bytes() == CONTENT


def test_concurrent_savers(directory: Path) -> None:
    """Whoever is last wins; at no time is there a mixture, or an error."""
    path = directory / "file"
    contents = [bytes([number]) * 300_000 for number in range(8)]
    errors: list[BaseException] = []
    seen: set[bytes] = set()
    stop = threading.Event()

    def save(content: bytes) -> None:
        try:
            for _ in range(10):
                with Spool(UploadSettings(spool_memory_bytes=0)) as spool:
                    spool.write(content)
                    spool.seek(0)
                    spool.save_to(path)
        except BaseException as error:
            errors.append(error)

    def watch() -> None:
        while not stop.is_set():
            if path.exists():
                seen.add(path.read_bytes())

    savers = [threading.Thread(target=save, args=(content,)) for content in contents]
    watcher = threading.Thread(target=watch)
    for thread in (watcher, *savers):
        thread.start()
    for thread in savers:
        thread.join()
    stop.set()
    watcher.join()
    assert errors == []
    assert seen | {path.read_bytes()} <= set(contents)
    assert os.listdir(directory) == ["file"]


# fsync.


@pytest.mark.parametrize("has_unnamed", [True, False])
@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("memory", [0, 1 << 20])
@pytest.mark.parametrize("moves", [True, False])
def test_fsync_before_and_after_the_name(
    directory: Path,
    moves: bool,
    memory: int,
    existing: bool,
    has_unnamed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """First the content, then the name, then the directory that holds the name."""
    if not has_unnamed:
        monkeypatch.delattr(os, "O_TMPFILE")
    path = existing_file(directory) if existing else directory / "file"
    events: list[tuple[str, bool]] = []  # what was synced, and whether the new file was in place
    real = os.fsync

    def recorded(descriptor: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        if kind == "file":
            assert os.fstat(descriptor).st_size == len(CONTENT)
        else:
            assert os.path.samestat(os.fstat(descriptor), directory.stat())
        events.append((kind, path.exists() and path.read_bytes() == CONTENT))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    with spool_of(memory) as spool:
        (spool.move_to if moves else spool.save_to)(path, fsync=True)
    assert events == [("file", False), ("directory", True)]


def test_fsync_of_a_file_that_is_written_in_place() -> None:
    """Where a file can't be replaced, its content is synced all the same."""
    with open_directory() as place:
        path = place / "file"
        path.write_bytes(b"old")
        give_to_nobody(path)
        place.chmod(0o555)
        run_unprivileged(f"""
synced = []
os.fsync = lambda descriptor: synced.append(os.fstat(descriptor).st_ino)
with Spool() as spool:
    spool.write(b"new content")
    spool.seek(0)
    spool.save_to({str(path)!r}, fsync=True)
    spool.seek(0)
    spool.save_to("/dev/null", fsync=True)
assert synced == [os.stat({str(path)!r}).st_ino], synced
""")


def test_no_fsync_unless_asked_for(
    way: Save, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes long."""
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("synced"))
    way(directory / "file")
