"""Batches: blocks that are collected by reference and written with one call for many.

While one batch is written the next is collected; at most one is in flight. What is held is within
a budget: where that has no more, batches are smaller.
"""

from __future__ import annotations

from collections.abc import Callable

from ..settings import UploadSettings
from ..turns import Job, current_scheduler
from .budgets import Budget

# Blocks that one write takes: IOV_MAX of Linux, and far above what a batch of usual blocks has.
_MOST_BLOCKS = 1024


class Batches:
    """start_write: begins to write blocks at an offset."""

    def __init__(
        self,
        settings: UploadSettings,
        budget: Budget,
        start_write: Callable[[list[bytes], int], Job],
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._start_write = start_write
        self._blocks: list[bytes] = []
        self._start = 0
        self._bytes = 0
        self._in_flight: Job | None = None
        self._held = 0  # bytes of the budget
        self._held_in_flight = 0

    def add(self, block: bytes, offset: int) -> None:
        """Add bytes that belong at `offset`. It may wait; raises what went wrong before."""
        if self._blocks and offset != self._start + self._bytes:
            self._start_batch()
        if not self._blocks:
            self._start = offset
        self._blocks.append(block)
        self._bytes += len(block)
        full = self._bytes >= self._settings.spool_batch_bytes
        if full or len(self._blocks) == _MOST_BLOCKS or not self._holds(self._bytes):
            self._start_batch()

    def flush(self) -> None:
        """Wait until all is written; raises what went wrong with it."""
        if self._blocks:
            self._start_batch()
        self._settle()

    def drop(self) -> None:
        """Forget what is not yet being written. Never waits."""
        self._blocks, self._bytes, self._in_flight = [], 0, None
        self._budget.give_back(self._held + self._held_in_flight)
        self._held = self._held_in_flight = 0

    def _start_batch(self) -> None:
        self._settle()
        self._in_flight = self._start_write(self._blocks, self._start)
        self._blocks, self._bytes = [], 0
        self._held_in_flight, self._held = self._held, 0
        self._checkpoint()

    def _settle(self) -> None:
        job = self._in_flight
        if job is None:
            return
        waits = not job.done
        try:
            job.result()
        finally:
            self._in_flight = None
            self._budget.give_back(self._held_in_flight)
            self._held_in_flight = 0
        if waits:
            self._checkpoint()

    def _holds(self, size: int) -> bool:
        missing = size - self._held
        if missing > 0:
            if not self._budget.take(missing):
                return False
            self._held = size
        return True

    def _checkpoint(self) -> None:
        if scheduler := current_scheduler(self._settings):
            scheduler.checkpoint()
