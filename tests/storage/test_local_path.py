"""The file of an object, for programs that take a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from cooperative_upload import UnsafePath
from cooperative_upload.storage import LocalStorage


def test_the_file_of_an_object(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with storage.deposit("a/b.bin") as deposit:
        deposit.write(b"content")
        deposit.commit()
    assert Path(storage.path("a/b.bin")).read_bytes() == b"content"


def test_a_key_that_would_leave_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UnsafePath):
        LocalStorage(tmp_path).path("../b.bin")
