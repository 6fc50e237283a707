"""Batches: blocks that are collected by reference and written with one call for many.

While one batch is written the next is collected; at most one is in flight. What is held is within
a budget: where that has no more, batches are smaller.
"""

from __future__ import annotations

from typing import Protocol

from ..settings import UploadSettings
from ..turns import Job
from .budgets import Budget

# Blocks that one write takes: IOV_MAX of Linux, and far above what a batch of usual blocks has.
_MOST_BLOCKS = 1024


class Batched(Protocol):
    """Whose batches they are. Not kept by them: it is freed when nobody else has it."""

    def _start_write(self, blocks: list[bytes], offset: int) -> Job:
        """Begin to write blocks at an offset."""

    def _wait_for(self, job: Job) -> None:
        """Wait for that; raises what went wrong with it."""

    def _checkpoint(self) -> None:
        """Called behind each wait for the disk, for a turn to go on with."""


class Batches:
    """budget: that of what is held.

    A batch stays until its write has been asked for and has ended, also where whoever waits is
    killed or runs out of time: flush() goes on then.
    """

    def __init__(self, settings: UploadSettings, budget: Budget) -> None:
        self._settings = settings
        self._budget = budget
        self._blocks: list[bytes] = []
        self._start = 0
        self._bytes = 0
        self._in_flight: Job | None = None
        self._held = 0  # bytes of the budget
        self._held_in_flight = 0

    def add(self, owner: Batched, block: bytes, offset: int) -> None:
        """Add bytes that belong at `offset`. It may wait; raises what went wrong before."""
        if self._blocks and offset != self._start + self._bytes:
            self._start_batch(owner)
        if not self._blocks:
            self._start = offset
        self._blocks.append(block)
        self._bytes += len(block)
        full = self._bytes >= self._settings.spool_batch_bytes
        if full or len(self._blocks) == _MOST_BLOCKS or not self.holds(self._bytes):
            self._start_batch(owner)

    def begin_with(self, content: bytes) -> None:
        """Add the first bytes, for which the budget has been taken already."""
        self._blocks, self._start, self._bytes = [content], 0, len(content)

    def flush(self, owner: Batched) -> None:
        """Wait until all is written; raises what went wrong with it."""
        if self._blocks:
            self._start_batch(owner)
        self._settle(owner)

    def drop(self) -> None:
        """Forget what is not yet being written. Never waits."""
        self._blocks, self._bytes, self._in_flight = [], 0, None
        self._budget.give_back(self._held_in_flight)
        self._held_in_flight = 0
        self.give_up()

    def holds(self, size: int) -> bool:
        """Whether the budget has so many bytes for it, those included that it had already."""
        missing = size - self._held
        if missing > 0:
            if not self._budget.take(missing):
                return False
            self._held = size
        return True

    def give_up(self) -> int:
        """Give back what is held of the budget beside the batch in flight; how many bytes."""
        held, self._held = self._held, 0
        self._budget.give_back(held)
        return held

    def _start_batch(self, owner: Batched) -> None:
        self._settle(owner)
        self._in_flight = owner._start_write(self._blocks, self._start)
        self._blocks, self._bytes = [], 0
        self._held_in_flight, self._held = self._held, 0
        owner._checkpoint()

    def _settle(self, owner: Batched) -> None:
        job = self._in_flight
        if job is None:
            return
        waits = not job.done
        try:
            owner._wait_for(job)
        except Exception:
            self._landed()
            raise
        self._landed()
        if waits:
            owner._checkpoint()

    def _landed(self) -> None:
        self._in_flight = None
        self._budget.give_back(self._held_in_flight)
        self._held_in_flight = 0
