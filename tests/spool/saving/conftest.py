"""Fixtures of the tests of saving: each way to do it, and where the files are."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from disk import open_files
from saving import Save, by_copy, by_link, from_memory, moved_from_memory

from cooperative_upload.spool import unnamed_file


@pytest.fixture(params=[by_link, by_copy, from_memory, moved_from_memory])
def way(request: pytest.FixtureRequest) -> Save:
    save: Save = request.param
    return save


@pytest.fixture(
    params=["O_TMPFILE", "without O_TMPFILE", "without /proc", "refused by the file system"]
)
def save(request: pytest.FixtureRequest, way: Save, monkeypatch: pytest.MonkeyPatch) -> Save:
    """Each way, where the file system has unnamed files and where it has none."""
    if request.param == "without O_TMPFILE":
        monkeypatch.delattr(os, "O_TMPFILE")
    elif request.param == "without /proc":
        monkeypatch.setattr(unnamed_file, "_DESCRIPTORS", "/proc/self/not/there")
    elif request.param == "refused by the file system":
        real_open = os.open

        def refuse(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "not supported")
            return real_open(path, flags, *rest, **more)

        monkeypatch.setattr(os, "open", refuse)
    return way


@pytest.fixture(autouse=True)
def spools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Spools are on the file system of tmp_path, and nothing is left over of them."""
    path = tmp_path / "spools"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    before = open_files(tmp_path)
    yield path
    assert os.listdir(path) == []
    assert open_files(tmp_path) == before


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "destination"
    path.mkdir()
    return path
