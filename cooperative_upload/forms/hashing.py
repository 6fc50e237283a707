"""Digests of a body by a thread, beside what else is done with its bytes.

A batch is hashed while the next one is collected, so a digest costs its upload little, and the
loop nothing: hashlib lets go of the interpreter. What is less work than handing it over is done
here and now.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..settings import UploadSettings
from ..turns import Job, current_hasher
from .digests import Digests

_BATCH_BYTES = 512 * 1024  # half a millisecond of SHA-256

_SMALL_BYTES = 64 * 1024  # a twentieth of one: about what it takes to wake a thread


class Hashing:
    """The digests of blocks that are given one after the other. Keeps blocks by reference.

    names: as for Digests.
    """

    def __init__(self, names: Iterable[str], settings: UploadSettings) -> None:
        self._digests = Digests(names)
        self._settings = settings
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._in_flight: Job | None = None

    def update(self, block: bytes) -> None:
        """Add the next bytes. It may wait for those before the last batch."""
        if not self._digests.names:
            return
        self._batch.append(block)
        self._batch_bytes += len(block)
        if self._batch_bytes >= _BATCH_BYTES:
            self._start_batch()

    def finished(self) -> Digests:
        """The digests of all of it, after waiting for them."""
        self.settle()
        return self._digests

    def settle(self) -> None:
        """Wait until nothing is held of what was given."""
        if self._batch_bytes > _SMALL_BYTES:
            self._start_batch()
        self._wait()
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        _update(self._digests, batch)

    def _start_batch(self) -> None:
        self._wait()
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        self._in_flight = current_hasher(self._settings).start(_update, self._digests, batch)

    def _wait(self) -> None:
        job, self._in_flight = self._in_flight, None
        if job is not None:
            job.result()


def _update(digests: Digests, batch: list[bytes]) -> None:
    for block in batch:
        digests.update(block)
