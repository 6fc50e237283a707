"""A board with nothing on it for each test, and the end of a worker."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cooperative_upload.monitoring import monitor, progress
from cooperative_upload.monitoring.board import Board


@pytest.fixture(autouse=True)
def new_board(monkeypatch: pytest.MonkeyPatch) -> Board:
    """A board of four sheets, with nothing on it."""
    new = Board(4)
    monkeypatch.setattr(monitor, "_board", new)
    monkeypatch.setattr(monitor, "_process", None)
    return new


@pytest.fixture
def worker_ends(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Says to the streams that the worker is to end; not beyond the test."""
    monkeypatch.setattr(progress, "_worker_ends", False)
    return progress.end_streams
