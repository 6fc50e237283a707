"""Uploads in a folder, without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from memory_storage import MemoryStorage
from uploads_in_process import Uploading

from cooperative_upload.protocols import Uploads


@pytest.fixture
def uploading_with(tmp_path: Path) -> Iterator[Callable[..., Uploading]]:
    """Makes a client of uploads with these options."""
    made: list[Uploads] = []

    def make(**options: Any) -> Uploading:
        made.append(Uploads(MemoryStorage(), f"sqlite:///{tmp_path}/uploads.db", **options))
        return Uploading(made[-1])

    yield make
    for uploads in made:
        uploads.close()


@pytest.fixture
def client(uploading_with: Callable[..., Uploading]) -> Uploading:
    """A client of uploads with no options."""
    return uploading_with()
