"""Boards for tests, beside that on which this process counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from forked import Forked

from cooperative_upload.monitoring import monitor
from cooperative_upload.monitoring.board import Board, Sheet
from cooperative_upload.monitoring.monitor import Upload


@contextmanager
def new_board() -> Iterator[None]:
    """This process has counted nothing yet, and has no board."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(monitor, "_board", None)
        patch.setattr(monitor, "_board_is_shared", False)
        patch.setattr(monitor, "_process", None)
        yield


@contextmanager
def shared_board(workers: int = 1) -> Iterator[Board]:
    """As new_board(), and those who are forked within the block share a board."""
    with new_board():
        monitor.share_statistics(workers)
        yield monitor.current_board()


def upload(**more: Any) -> Upload:
    """One that begins now, and is as any other where nothing else is said."""
    usual = {"method": "POST", "path": "/form", "client": "127.0.0.1", "expected": 1000}
    return Upload(**{**usual, **more})


def claiming(board: Board, work: Callable[[Sheet], Any] = lambda sheet: None) -> Forked:
    """A process that claims a sheet of this board."""

    def claim() -> Any:
        board.forget()
        return work(board.claim())

    return Forked(claim)
