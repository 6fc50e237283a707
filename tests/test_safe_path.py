"""Paths from clients: what is a file below the directory, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooperative_upload.errors import UnsafePath
from cooperative_upload.safe_path import path_below

GOOD = [
    "file.bin",
    "a/b/c.bin",
    "with space.txt",
    "ümläut.txt",
    "日本語/ファイル.bin",
    "👩‍💻.txt",  # joined by U+200D, which is a format character too
    ".hidden",
    "..two-dots-that-are-no-parent",
    "a..b",
    "~root",
    "-rf",
    "%2e%2e",
    "$HOME",
    "x" * 255,
    "/".join(["deep"] * 100),
]

BAD = {
    "nothing": "",
    "the directory": ".",
    "parent": "..",
    "parent inside": "a/../b",
    "parents": "../../etc/passwd",
    "parent at the end": "a/..",
    "absolute": "/etc/passwd",
    "double slash": "a//b",
    "trailing slash": "a/",
    "backslash": "a\\..\\b",
    "drive": "C:/windows",
    "stream of NTFS": "file.txt:stream",
    "NUL": "a\0b",
    "line feed": "a\nb",
    "carriage return": "a\rb",
    "escape": "a\x1b[2Jb",
    "delete": "a\x7fb",
    "C1 control": "a\x85b",
    "line separator": "a\u2028b",
    "right to left override": "exe.\u202egpj",
    "isolate": "a\u2066b",
    "half of a pair": "a\ud800b",
    "full-width dots": "\uff0e\uff0e",
    "full-width slash": "..\uff0f..",
    "one dot leader": "\u2024\u2024",
    "two dot leader": "\u2025",
    "account of": "a\u2100b",  # is a/c when it is normalised
    "full-width backslash": "a\uff3cb",
    "device": "CON",
    "device with an extension": "nul.txt",
    "port": "COM1",
    "trailing dot": "file.",
    "trailing space": "file ",
    "256 bytes": "x" * 256,
    "256 bytes of UTF-8": "ü" * 128,
    "10,000 characters": "x" * 10_000,
}


@pytest.mark.parametrize("name", GOOD)
def test_a_file_below(tmp_path: Path, name: str) -> None:
    """The path that one expects, which need not exist, and can be made."""
    path = path_below(tmp_path, name)
    assert path == Path(os.path.realpath(tmp_path), *name.split("/"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"content")


@pytest.mark.parametrize("name", BAD.values(), ids=BAD)
def test_refused(tmp_path: Path, name: str) -> None:
    """A 400 that says what is wrong, alone and as the last of several names."""
    for whole in (name, f"directory/{name}"):
        with pytest.raises(UnsafePath) as caught:
            path_below(tmp_path, whole)
        assert caught.value.code == 400
        assert caught.value.description is not None
        assert len(caught.value.description) < 200


def test_symbolic_links(tmp_path: Path) -> None:
    """One that stays inside is followed, one that leads out is refused, as directory and file."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "real").mkdir(parents=True)
    outside.mkdir()
    (root / "inside").symlink_to(root / "real")
    (root / "out").symlink_to(outside)
    (root / "file").symlink_to(outside / "file")
    (root / "up").symlink_to("..")
    assert path_below(root, "inside/a") == root / "real" / "a"
    for name in ("out", "out/a", "file", "up", "up/root2"):
        with pytest.raises(UnsafePath, match="leads out"):
            path_below(root, name)


def test_a_directory_with_a_longer_name_is_outside(tmp_path: Path) -> None:
    """/root-2 begins like /root, and does not lie below it."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root-2").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "root-2")
    with pytest.raises(UnsafePath):
        path_below(tmp_path / "root", "link/file")


def test_a_directory_that_is_a_link(tmp_path: Path) -> None:
    """The server's own directory may be one."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert path_below(tmp_path / "link", "a") == tmp_path / "real" / "a"


@settings(derandomize="CI" in os.environ, deadline=None)
@given(st.text() | st.lists(st.sampled_from(["..", ".", "a", "", "\0", "~"])).map("/".join))
def test_never_outside(name: str) -> None:
    """Whatever the name is: a path strictly below, or UnsafePath."""
    try:
        path = path_below("/some/where", name)
    except UnsafePath:
        return
    assert Path("/some/where") in path.parents
