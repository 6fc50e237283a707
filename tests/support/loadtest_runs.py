"""Running the load test as a user does: a process of its own, and what it said and left behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from checkout import ROOT

from loadtest.clients.connection import Address
from loadtest.servers.processes import get_status

SECONDS = 60  # one run takes a few; this is for a machine that is very busy

# As small as still shows that everything works. Half of the small requests open a connection of
# their own; at 200 a second over TLS their handshakes were more than a busy machine could do.
BARE = ("--idle-seconds", "0.3", "--no-warm-up", "--no-html", "--rate", "50")
SMALL = ("--total", "20MB", *BARE)


@dataclass(frozen=True)
class Outcome:
    """What a run left: its exit status and all that it wrote."""

    status: int
    out: str
    err: str


class LoadTest:
    """A run in progress, with its temporary files in `scratch`."""

    def __init__(self, *arguments: str, scratch: Path) -> None:
        scratch.mkdir(exist_ok=True)
        self.scratch = scratch
        self._process = subprocess.Popen(
            [sys.executable, "-m", "loadtest", *arguments],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def descendants(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self._process.pid).children(recursive=True)
        return []

    def wait_for_child(self, word: str, deadline: float = 30.0) -> list[psutil.Process]:
        """The descendants whose command line holds `word`, once there are at least two."""
        found: list[psutil.Process] = []

        def there() -> bool:
            found[:] = [p for p in self.descendants() if word in " ".join(command_line(p))]
            return len(found) >= 2

        wait_until(there, deadline)
        return found

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def outcome(self, seconds: float = SECONDS) -> Outcome:
        try:
            out, err = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, err = self._process.communicate()
            raise AssertionError(f"the run did not end:\n{out}\n{err}") from None
        return Outcome(self._process.returncode, out, err)

    def end(self) -> None:
        """Leave nothing running, whatever the test did."""
        for process in [*self.descendants()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def running(*arguments: str, scratch: Path) -> Iterator[LoadTest]:
    run = LoadTest(*arguments, scratch=scratch)
    try:
        yield run
    finally:
        run.end()


def load_test(*arguments: str, scratch: Path, seconds: float = SECONDS) -> Outcome:
    """Run to the end; fails if a process or a file is left behind."""
    with running(*arguments, scratch=scratch) as run:
        outcome = run.outcome(seconds)
    assert_nothing_left(scratch)
    return outcome


def assert_nothing_left(scratch: Path) -> None:
    """No temporary file, and no process that was started with `scratch` as its TMPDIR."""
    assert list(scratch.iterdir()) == []
    wait_until(lambda: not processes_of(scratch), 10.0)


def processes_of(scratch: Path) -> list[psutil.Process]:
    return [p for p in psutil.process_iter() if environment(p).get("TMPDIR") == str(scratch)]


def environment(process: psutil.Process) -> dict[str, str]:
    try:
        return {} if process.pid == os.getpid() else process.environ()
    except psutil.Error:
        return {}


def command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def wait_until(condition: Callable[[], bool], deadline: float) -> None:
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


def answers(port: int) -> bool:
    """Whether the demo answers on `port`."""
    try:
        return get_status(Address("127.0.0.1", port, "127.0.0.1"), "/ping") == 200
    except OSError:
        return False
