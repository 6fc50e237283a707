"""Who may do what with a file that takes the place of another."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from access_lists import ACCESS, DEFAULT, attributes, set_list

from cooperative_upload.spool.file_access import is_alike, take_over_access
from cooperative_upload.spool.unnamed_file import open_unnamed

LIST = "user::rw-,user:12:rw-,group::---,mask::rw-,other::---"

only_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old"
    path.write_bytes(b"old")
    path.chmod(0o640)
    return path


@pytest.fixture
def new(tmp_path: Path) -> Iterator[int]:
    """A file as open() makes one."""
    descriptor = os.open(tmp_path / "new", os.O_RDWR | os.O_CREAT, 0o644)
    yield descriptor
    os.close(descriptor)


def take_over(new: int, old: Path) -> None:
    take_over_access(new, old.stat(), str(old))


def mode(descriptor: int) -> int:
    return stat.S_IMODE(os.fstat(descriptor).st_mode)


@pytest.mark.parametrize("old_mode", [0o600, 0o640, 0o666, 0o400, 0o000])
def test_mode(new: int, old: Path, old_mode: int) -> None:
    old.chmod(old_mode)
    take_over(new, old)
    assert mode(new) == old_mode


@pytest.mark.parametrize("bits", [0o4000, 0o2000, 0o1000, 0o7000])
def test_what_lets_content_run_as_another_user_goes_with_the_content(
    new: int, old: Path, bits: int
) -> None:
    """As in the kernel, where a write by who does not own the file takes these bits away."""
    old.chmod(bits | 0o755)
    take_over(new, old)
    assert mode(new) == 0o755


def test_access_list(new: int, old: Path) -> None:
    """The bits of a group in the mode of a file with a list are its mask: taken for the rights of
    the group they would let it in."""
    set_list(old, LIST)
    assert stat.S_IMODE(old.stat().st_mode) == 0o660
    take_over(new, old)
    assert attributes(new) == attributes(old)
    assert mode(new) == 0o660


def test_a_list_of_the_directory_is_not_added(old: Path) -> None:
    """A new file has one from its directory; the one that it replaces has none."""
    set_list(old.parent, "user::rwx,user:12:rwx,group::rwx,mask::rwx,other::r-x", DEFAULT)
    new = open_unnamed(str(old.parent))
    assert new is not None
    try:
        assert ACCESS in attributes(new)
        take_over(new, old)
        assert attributes(new) == {}
        assert mode(new) == 0o640
    finally:
        os.close(new)


@only_root
def test_owner_and_group(new: int, old: Path) -> None:
    os.chown(old, 12345, 23456)
    take_over(new, old)
    assert (os.fstat(new).st_uid, os.fstat(new).st_gid) == (12345, 23456)
    assert mode(new) == 0o640


@only_root
@pytest.mark.parametrize(
    ("old_mode", "new_mode"),
    [(0o640, 0o600), (0o664, 0o644), (0o666, 0o666), (0o604, 0o604), (0o675, 0o655)],
)
def test_a_group_that_can_not_be_given(
    new: int, old: Path, old_mode: int, new_mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other group gets what everybody has, at the most."""

    def refuse(*_: object) -> None:
        raise PermissionError

    os.chown(old, 12345, 23456)
    old.chmod(old_mode)
    monkeypatch.setattr(os, "fchown", refuse)
    take_over(new, old)
    assert mode(new) == new_mode
    set_list(old, LIST)
    take_over(new, old)
    assert mode(new) == 0o600
    assert attributes(new) == {}


def test_no_change_where_none_is_needed(
    new: int, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some mounts refuse every call, also one that would change nothing."""
    os.fchmod(new, 0o640)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "fchmod", refuse)
    monkeypatch.setattr(os, "fchown", refuse)
    take_over(new, old)
    old.chmod(0o600)
    with pytest.raises(PermissionError):
        take_over(new, old)


def test_alike(new: int, tmp_path: Path) -> None:
    """Everything counts but the content."""
    other_path = tmp_path / "other"
    other_path.write_bytes(b"content")
    os.fchmod(new, 0o640)
    other_path.chmod(0o640)
    other = os.open(other_path, os.O_RDONLY)
    try:
        assert is_alike(new, other)
        other_path.chmod(0o600)
        assert not is_alike(new, other)
        other_path.chmod(0o640)
        os.setxattr(other_path, "user.origin", b"one")
        assert not is_alike(new, other)
        os.setxattr(new, "user.origin", b"two")
        assert not is_alike(new, other)
        os.setxattr(new, "user.origin", b"one")
        assert is_alike(new, other)
        if os.getuid() == 0:
            os.chown(other_path, -1, 12345)
            assert not is_alike(new, other)
    finally:
        os.close(other)
