"""LocalStorage does what every storage does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from disk import open_files
from greenlets import wait_until
from storage_contract import (
    CrashContract,
    DepositContract,
    ObjectContract,
    Place,
    WritingContract,
)

from cooperative_upload.settings import UploadSettings
from cooperative_upload.storage import LocalStorage


class LocalPlace(Place):
    part_size = 5000
    primitives = tuple(
        f"os.{name}"
        for name in (
            "fdatasync",
            "fsync",
            "ftruncate",
            "link",
            "mkdir",
            "open",
            "pwritev",
            "replace",
            "rmdir",
            "setxattr",
            "unlink",
            "utime",
            "write",
        )
    )

    def __init__(self, root: Path) -> None:
        self.root = root
        self._settings = UploadSettings(spool_memory_bytes=2000, spool_batch_bytes=4096)

    def storage(self) -> LocalStorage:
        return LocalStorage(self.root, self._settings)

    def remains(self) -> list[str]:
        hidden = self.root / ".uploads"
        return sorted(
            os.path.relpath(os.path.join(directory, name), self.root)
            for directory, _, names in os.walk(self.root)
            for name in names
            if directory.startswith(str(hidden)) or name.startswith(".upload-")
        )


class _InAFolder:
    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[LocalPlace]:
        root = tmp_path / "root"
        root.mkdir()
        yield LocalPlace(root)
        wait_until(lambda: open_files(root) == 0)


class TestDeposits(_InAFolder, DepositContract):
    pass


class TestWritings(_InAFolder, WritingContract):
    pass


class TestCrashes(_InAFolder, CrashContract):
    pass


class TestObjects(_InAFolder, ObjectContract):
    pass
