"""Processes and threads that count on a board, and what is seen of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from boards import upload

from cooperative_upload.monitoring.board import Board

AN_ID = "0123456789abcdef"


def pids(board: Board) -> list[int]:
    return [sheet.pid for sheet in board.sheets()]


RUNNING = 50
RECEIVED = 1000


def begin_uploads() -> None:
    for _ in range(RUNNING):
        upload(chosen_id=AN_ID).record.received = RECEIVED
    upload().ended("complete", 200)


def in_threads(number: int, do: Callable[[], object]) -> list[Any]:
    """What each of so many threads got, that did it at once."""
    results: list[Any] = []
    barrier = threading.Barrier(number)

    def run() -> None:
        barrier.wait()
        results.append(do())

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == number
    return results
