"""A board that processes share, and what its locks are on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from boards import shared_board

from cooperative_upload.monitoring.board import Board


@pytest.fixture(params=["memfd", "temporary file"])
def kind_of_file(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the locks are on; not every Python has os.memfd_create."""
    if request.param == "temporary file":
        monkeypatch.delattr(os, "memfd_create")


@pytest.fixture
def board() -> Iterator[Board]:
    """One that all processes share, those forked later too."""
    with shared_board() as board:
        yield board
