"""Files without a name: how they are made, and how they come to one."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from cooperative_upload.spool.unnamed_file import (
    create_named,
    create_unnamed,
    link_unnamed,
    open_unnamed,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "directory"
    path.mkdir()
    return path


@pytest.mark.parametrize("has_unnamed", [True, False])
def test_create_unnamed(
    directory: Path, has_unnamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No name in the directory, not inherited by child processes, for reading and writing."""
    if not has_unnamed:
        monkeypatch.delattr(os, "O_TMPFILE")
    descriptor, can_be_linked = create_unnamed(str(directory))
    try:
        assert can_be_linked == has_unnamed
        assert os.listdir(directory) == []
        assert os.fstat(descriptor).st_nlink == 0
        assert not os.get_inheritable(descriptor)
        os.pwrite(descriptor, b"content", 2)
        assert os.pread(descriptor, 100, 0) == b"\0\0content"
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES, errno.ENOENT, errno.EMFILE])
def test_create_unnamed_raises_what_the_system_says(
    directory: Path, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a file system without unnamed files is a reason to try with a name."""

    def fail(*_: Any, **__: Any) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(OSError, match=r".") as caught:
        create_unnamed(str(directory))
    assert caught.value.errno == error


def test_a_name_is_given_once(directory: Path) -> None:
    """Not in the place of a file that is there."""
    descriptor = open_unnamed(str(directory))
    assert descriptor is not None
    try:
        os.write(descriptor, b"content")
        link_unnamed(descriptor, str(directory / "name"))
        with pytest.raises(FileExistsError):
            link_unnamed(descriptor, str(directory / "name"))
    finally:
        os.close(descriptor)
    assert (directory / "name").read_bytes() == b"content"


def test_create_named(directory: Path) -> None:
    """As open() makes a file, under a name that is hidden and new."""
    before = os.umask(0o027)
    try:
        descriptor, path = create_named(str(directory))
    finally:
        os.umask(before)
    os.close(descriptor)
    assert [str(directory / name) for name in os.listdir(directory)] == [path]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
    assert os.path.basename(path).startswith(".upload-")
