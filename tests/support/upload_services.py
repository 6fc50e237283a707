"""Services for tests: uploads of a few bytes, and bodies that arrive or break."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gevent
import gevent.event

from cooperative_upload.body import CooperativeInput
from cooperative_upload.settings import UploadSettings
from cooperative_upload.storage import Storage
from cooperative_upload.uploads import Hooks, UploadService

NO_HOOKS = Hooks()

# What several processes know to be an upload's content.
DATA = random.Random(0).randbytes(300_000)


def body(data: bytes, length: int | None = None) -> CooperativeInput:
    """A request's body that has these bytes; broken if it announces more."""
    return CooperativeInput(io.BytesIO(data), len(data) if length is None else length)


class ArrivingSource:
    """A body's source that gives its pieces, and then waits for `go_on`, for ever if need be."""

    read_ahead = 0
    most_pending = 0

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.waits = False
        self.go_on = gevent.event.Event()

    def receive(self, size: int) -> bytes:
        if self._pieces:
            return self._pieces.pop(0)
        self.waits = True
        self.go_on.wait()
        return b""

    receive_line = receive


@contextlib.contextmanager
def service(
    storage: Storage,
    database: str,
    hooks: Hooks = NO_HOOKS,
    *,
    key: Callable[..., str] | None = None,
    **settings: Any,
) -> Iterator[UploadService]:
    """A service that sweeps when it is told to, alone."""
    configured = UploadSettings(**{"upload_sweep_seconds": 0, **settings})
    more: dict[str, Any] = {} if key is None else {"key": key}
    made = UploadService(storage, database, hooks=hooks, settings=configured, **more)
    try:
        yield made
    finally:
        made.close()


def in_pieces(data: bytes, sizes: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of pieces of these sizes; the last has the rest."""
    at = 0
    for size in sizes:
        yield at, data[at : at + size]
        at += size
    yield at, data[at:]
