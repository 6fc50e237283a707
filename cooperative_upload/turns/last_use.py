"""What the writer's threads use, closed when its last use has ended.

A call that is still queued when its greenlet is killed must not find another file under the same
number; and what a thread works on can't be closed under its hands. So each use is counted, from
the moment in which it is handed over, and whoever ends last closes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import Any

from gevent.monkey import get_original

from ..settings import UploadSettings
from .writer import Job, current_writer

# A native lock also where gevent has patched the threading modules: the threads use it too.
_allocate_lock: Callable[[], Any] = get_original("_thread", "allocate_lock")


class ClosedByLastUse:
    """Something that threads use.

    close: called once, in a thread or wherever the last use ends.
    """

    def __init__(self, settings: UploadSettings, close: Callable[[], object]) -> None:
        self._settings = settings
        self._close = close
        self._uses = 1
        self._closed = False
        self._lock = _allocate_lock()

    def run(self, function: Callable[[], Any]) -> Any:
        """What a thread's call of `function` returns, after waiting for it."""
        return self.start(function).result()

    def start(self, function: Callable[[], Any]) -> Job:
        """Have a thread call `function` while this is certain to stay open.

        Raises ValueError if it is closed.
        """
        self.begin_use()
        try:
            return current_writer(self._settings).start(self._use, function)
        except BaseException:  # killed before a thread was free: nobody will call it
            self.end_use()
            raise

    def close(self) -> None:
        """End the owner's use, at the first call. Never waits."""
        if not self._closed:
            self._closed = True
            current_writer(self._settings).start_soon(self.end_use)

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """A use by what the block does."""
        self.begin_use()
        try:
            yield
        finally:
            self.end_use()

    def begin_use(self) -> None:
        """One more that has to end before this is closed. Raises ValueError if it is."""
        with self._lock:
            if not self._uses:
                raise ValueError("I/O operation on closed file.")
            self._uses += 1

    def end_use(self) -> None:
        """It has ended."""
        with self._lock:
            self._uses -= 1
            last = self._uses == 0
        if last:
            self._close()

    def _use(self, function: Callable[[], Any]) -> Any:
        try:
            return function()
        finally:
            self.end_use()


def run_in_steps(
    steps: Generator[None, None, None],
    settings: UploadSettings,
    when_closed: Callable[[], object] = int,
) -> None:
    """Have threads run a generator to its end, one step for each call.

    Between two steps they serve the others. A generator whose greenlet was killed is closed when
    the step that runs has ended.

    when_closed: called behind that.
    """

    def close() -> None:
        steps.close()
        when_closed()

    work = ClosedByLastUse(settings, close)
    try:
        while work.run(lambda: _has_more(steps)):
            pass
    finally:
        work.close()


def _has_more(steps: Generator[None, None, None]) -> bool:
    for _ in steps:
        return True
    return False
