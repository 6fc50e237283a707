"""The measuring processes: one that uploads, one that probes, each started, told when, heard.

The parent's side is a `Member`, the child's a `Station`; a pipe joins them. A child reports
`Ready`, waits for `Go`, sends progress while it works and one `Result` at the end, or a `Failure`.
A child never outlives its parent: the pipe's end ends it. Times are time.perf_counter(), which on
Linux is one clock for all processes of the machine.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from typing import Any, Generic, TypeVar

from loadtest.errors import LoadTestError
from loadtest.interrupts import held

R = TypeVar("R")

START_SECONDS = 30.0  # a child only imports modules; this is for a machine that is busy
END_SECONDS = 2.0


@dataclass(frozen=True)
class Ready:
    """The child could begin at once."""


@dataclass(frozen=True)
class Go:
    """Begin at this time."""

    at: float


@dataclass(frozen=True)
class Stop:
    """Begin nothing new from this time on, and come to an end."""

    at: float


@dataclass(frozen=True)
class Progress:
    """Whatever the child has to say while it works."""

    value: Any


@dataclass(frozen=True)
class Result:
    """What the child was started for."""

    value: Any


@dataclass(frozen=True)
class Failure:
    """The child gave up; `text` says why."""

    text: str


Message = Ready | Progress | Result


class Station:
    """The child's side."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._stop_at: float | None = None

    def wait_for_go(self) -> float:
        """Report readiness, wait, and come back at the time to begin, which is returned."""
        self._pipe.send(Ready())
        order = self._pipe.recv()
        assert isinstance(order, Go)
        time.sleep(max(0.0, order.at - time.perf_counter()))
        return order.at

    def progress(self, value: Any) -> None:
        self._pipe.send(Progress(value))

    def stop_at(self) -> float | None:
        """The time from which on nothing new is to begin, once the parent has said so."""
        while self._pipe.poll():
            order = self._pipe.recv()  # EOFError if the parent is gone
            assert isinstance(order, Stop)
            self._stop_at = order.at
        return self._stop_at


def _child(task: Callable[[Any, Station], Any], job: Any, pipe: Pipe) -> None:
    with contextlib.suppress(EOFError, BrokenPipeError):  # the parent is gone
        try:
            pipe.send(Result(task(job, Station(pipe))))
        except (EOFError, BrokenPipeError):
            raise
        except OSError as error:
            pipe.send(Failure(str(error)))
        except Exception:
            pipe.send(Failure(traceback.format_exc()))


class Member(Generic[R]):
    """The parent's side: the process that runs `task(job, station)`. Use it as a context.

    `name` is what it does, as a verb: it stands in error messages.
    """

    def __init__(self, name: str, task: Callable[[Any, Station], R], job: Any) -> None:
        context = multiprocessing.get_context("spawn")  # fork would copy the terminal's threads
        self.name = name
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_child, args=(task, job, theirs), name=name, daemon=True
        )
        # Ctrl-C reaches every process of the terminal: this one inherits that it is blocked, and
        # is ended by us.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        theirs.close()

    def __enter__(self) -> Member[R]:
        return self

    def __exit__(self, *exception: object) -> None:
        with held():
            self._process.terminate()
            self._process.join(END_SECONDS)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
            self.pipe.close()

    def wait_ready(self) -> None:
        if not self.pipe.poll(START_SECONDS):
            raise LoadTestError(f"The process that {self.name} was not ready in time.")
        message = self.take()
        assert isinstance(message, Ready)

    def go(self, at: float) -> None:
        self.pipe.send(Go(at))

    def stop(self, at: float) -> None:
        self.pipe.send(Stop(at))

    def take(self) -> Message:
        """The next message; it must be there or be coming. Raises LoadTestError on a failure."""
        try:
            message = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            raise LoadTestError(f"The process that {self.name} died.") from None
        if isinstance(message, Failure):
            raise LoadTestError(f"The process that {self.name} failed: {message.text.strip()}")
        assert isinstance(message, Message)
        return message
