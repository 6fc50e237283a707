"""Files that can only be written in place, and the rights of new ones."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from access_lists import DEFAULT, attributes, set_list
from inotify import watching
from saving import CONTENT, Save, by_link, by_open, existing_file, mode, spool_on_disk

# Refusals, behind which a file can still be written in place.


def refused(error: int) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(error, os.strerror(error))

    return refuse


@pytest.mark.parametrize(
    ("function", "error"),
    [("replace", errno.EBUSY), ("replace", errno.EPERM), ("link", errno.EPERM)],
)
def test_a_file_that_can_not_be_replaced(
    way: Save, directory: Path, function: str, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the rules of a mount, a container or a policy: it is written to, if that is allowed."""
    path = existing_file(directory)
    before = path.stat().st_ino
    monkeypatch.setattr(os, function, refused(error))
    if function == "link":  # one with a name can still be renamed
        way(path)
        assert path.stat().st_ino != before
    else:
        way(path)
        assert path.stat().st_ino == before
    assert path.read_bytes() == CONTENT
    assert mode(path) == 0o640
    assert os.listdir(directory) == ["file"]


def test_a_file_system_without_modes(
    way: Save, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no mode can be given, a file that has another one keeps it by being written to."""
    monkeypatch.setattr(os, "fchmod", refused(errno.EPERM))
    path = existing_file(directory)
    before = path.stat().st_ino
    way(path)
    assert path.stat().st_ino == before
    assert mode(path) == 0o640
    path.chmod(0o644)
    before = path.stat().st_ino
    way(path)
    assert path.stat().st_ino != before
    assert path.read_bytes() == CONTENT


def test_a_file_that_is_mounted(way: Save, directory: Path) -> None:
    """As single files are into containers: EBUSY for whoever would replace it."""
    source, path = directory / "source", directory / "file"
    source.write_bytes(b"what was there before, and is longer" * 100)
    path.touch()
    mount = subprocess.run(["mount", "--bind", source, path], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip("no permission to mount")
    try:
        way(path)
        assert path.read_bytes() == CONTENT
    finally:
        subprocess.run(["umount", path], check=True)
    assert source.read_bytes() == CONTENT
    assert sorted(os.listdir(directory)) == ["file", "source"]


@pytest.mark.parametrize("existing", [True, False])
def test_without_room_for_a_name(
    way: Save, directory: Path, existing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is no refusal: what is there must not be emptied for it."""
    path = existing_file(directory) if existing else directory / "file"
    monkeypatch.setattr(os, "link", refused(errno.ENOSPC))
    with pytest.raises(OSError, match="no space") as caught:
        way(path)
    assert caught.value.errno == errno.ENOSPC
    assert not existing or path.read_bytes() == b"old"
    assert os.listdir(directory) == (["file"] if existing else [])


# Rights of a new file.


def test_a_move_copies_what_a_new_file_would_not_be(
    directory: Path,
) -> None:
    """By the umask of now, the access list of the directory, its group, a label."""
    with spool_on_disk() as spool:
        before = os.umask(0o077)  # not as when the spool was made
        try:
            spooled = os.fstat(spool.fileno()).st_ino
            spool.move_to(directory / "by umask")
        finally:
            os.umask(before)
    assert (directory / "by umask").stat().st_ino != spooled
    assert mode(directory / "by umask") == 0o600
    set_list(directory, "user::rwx,user:12:rwx,group::r-x,mask::rwx,other::---", DEFAULT)
    by_open(directory / "model")
    by_link(directory / "by list")
    assert attributes(directory / "by list") == attributes(directory / "model")
    assert mode(directory / "by list") == mode(directory / "model") == 0o660
    with spool_on_disk() as spool:
        os.setxattr(spool.fileno(), "user.label", b"of the spool directory")
        os.removexattr(directory, DEFAULT)
        spool.move_to(directory / "by label")
    assert attributes(directory / "by label") == {}


def test_the_access_list_of_a_file_that_is_replaced(save: Save, directory: Path) -> None:
    """Its mask is not taken for the rights of the group."""
    path = existing_file(directory)
    set_list(path, "user::rw-,user:12:rw-,group::---,mask::rw-,other::---")
    expected = attributes(path)
    save(path)
    assert attributes(path) == expected
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("existing", [True, False])
def test_watchers_are_told(way: Save, directory: Path, existing: bool) -> None:
    """Of a file that was written, or of one that was moved here."""
    path = existing_file(directory) if existing else directory / "file"
    with watching(directory) as events:
        way(path)
        told = ("moved_to", "file") if existing else ("close_write", "file")
        assert told in events()
