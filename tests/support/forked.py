"""Processes that are forked from that of the test, as a server forks its workers."""

from __future__ import annotations

import json
import os
import select
import signal
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any

from http_client import DEADLINE


class Forked:
    """A process that does its work, tells the result and waits for its end; a context manager.

    work: what it returns has to be JSON.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self._results, results = os.pipe()
        ending, self._ending = os.pipe()
        with warnings.catch_warnings():
            # Python 3.12 and later: of threads that other tests have left. No child uses them.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if not self.pid:
            _work_and_wait(work, results, ending)
        os.close(results)
        os.close(ending)

    def __enter__(self) -> Forked:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.die()
        os.close(self._results)
        os.close(self._ending)

    def result(self) -> Any:
        """What its work returned, which is over then."""
        text = b""
        while not text.endswith(b"\n"):
            ready, _, _ = select.select([self._results], [], [], DEADLINE)
            assert ready, "the forked process hangs"
            piece = os.read(self._results, 65536)
            assert piece, "the forked process has failed"
            text += piece
        return json.loads(text)

    def end(self) -> None:
        """Return when it has ended as it should."""
        os.write(self._ending, b".")
        pid, status = os.waitpid(self.pid, 0)
        assert (pid, status) == (self.pid, 0)
        self.pid = 0

    def die(self) -> None:
        """Kill it; nothing if it has ended."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0


def _work_and_wait(work: Callable[[], Any], results: int, ending: int) -> None:
    """Never returns: what is behind the fork is the test's."""
    status = 1
    try:
        os.write(results, json.dumps(work()).encode() + b"\n")
        os.read(ending, 1)
        status = 0
    finally:
        os._exit(status)
