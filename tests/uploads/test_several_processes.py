"""Two processes and one upload: the newer request has it, and the older changes nothing more."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from checkout import ROOT
from greenlets import in_greenlet
from upload_services import DATA, body, service

from cooperative_upload.storage import LocalStorage
from cooperative_upload.uploads import Creation, Upload, UploadService
from cooperative_upload.uploads.processes import is_gone, name_of_process

T = TypeVar("T")

PROGRAM = ROOT / "tests" / "support" / "upload_process.py"

# Seconds: what is waited for takes one at the most, on a machine that does nothing else.
SOON = 20.0


class Other:
    """A process with a request."""

    def __init__(self, folder: Path, database: str, upload: Upload, *numbers: int) -> None:
        command = [sys.executable, str(PROGRAM), str(folder), database, upload.id]
        self.process = subprocess.Popen(
            [*command, *map(str, numbers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.says() == "ready"

    def go(self) -> None:
        """Have it make its request."""
        assert self.process.stdin
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def says(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().decode().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


class Bench:
    """A folder, a database, and processes that end with the test."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.database = database
        self.others: list[Other] = []

    def begin(self) -> Upload:
        def create(uploads: UploadService) -> Upload:
            return uploads.create(Creation("me", size=len(DATA)))

        return self.run(create)

    def other(self, upload: Upload, *numbers: int) -> Other:
        self.others.append(Other(self.folder, self.database, upload, *numbers))
        return self.others[-1]

    def hanging(self, upload: Upload) -> Other:
        """One whose client has sent 1,000 bytes, and has gone without a word."""
        other = self.other(upload, 0, 1000, len(DATA))
        other.go()
        assert other.says() == "hangs"
        return other

    def run(self, test: Callable[[UploadService], T]) -> T:
        """What the test returns, of a service of this process."""

        def run() -> T:
            with service(LocalStorage(self.folder), self.database) as uploads:
                return test(uploads)

        return in_greenlet(run)


@contextlib.contextmanager
def opened(folder: Path, database: str) -> Iterator[Bench]:
    (folder / "objects").mkdir()
    made = Bench(folder / "objects", database)
    try:
        yield made
    finally:
        for other in made.others:
            other.end()


@pytest.fixture
def bench(tmp_path: Path, database: str) -> Iterator[Bench]:
    """On each database."""
    with opened(tmp_path, database) as made:
        yield made


@pytest.fixture
def quick(tmp_path: Path, sqlite: str) -> Iterator[Bench]:
    """On SQLite alone."""
    with opened(tmp_path, sqlite) as made:
        yield made


def completed(uploads: UploadService, upload: Upload, offset: int) -> None:
    """The rest is added, and all is right."""
    assert uploads.append(upload.id, offset, body(DATA[offset:])).ready
    assert uploads.open(upload.id).read() == DATA


def test_one_that_hangs_stops_when_it_is_asked(bench: Bench) -> None:
    """What it had received is counted, for who is about to go on."""
    upload = bench.begin()
    other = bench.hanging(upload)

    def test(uploads: UploadService) -> None:
        assert uploads.status(upload.id).offset == 0
        assert uploads.settle(upload.id).offset == 1000
        assert other.says() == "Superseded"
        completed(uploads, upload, 1000)

    bench.run(test)


def test_one_that_was_killed_is_not_waited_for(quick: Bench) -> None:
    """The kernel says that it is gone."""
    upload = quick.begin()
    other = quick.hanging(upload)
    other.end()

    def test(uploads: UploadService) -> None:
        began = time.monotonic()
        held = uploads.settle(upload.id)
        assert (held.offset, held.holder) == (0, None)
        assert time.monotonic() - began < SOON
        completed(uploads, upload, 0)

    quick.run(test)


def test_one_that_stands_still_is_fenced_off(quick: Bench) -> None:
    """It goes on later, and what it commits is nothing."""
    upload = quick.begin()
    other = quick.hanging(upload)
    other.process.send_signal(signal.SIGSTOP)

    def test(uploads: UploadService) -> None:
        began = time.monotonic()
        assert uploads.settle(upload.id).offset == 0
        assert time.monotonic() - began < SOON
        assert uploads.append(upload.id, 0, body(DATA[:10])).offset == 10
        other.process.send_signal(signal.SIGCONT)
        assert other.says() == "Superseded"
        assert uploads.status(upload.id).offset == 10
        completed(uploads, upload, 10)

    quick.run(test)


def test_two_at_the_same_moment(bench: Bench) -> None:
    """Both append at one offset: what is acknowledged is there, and nothing is wrong."""
    upload = bench.begin()
    others = [bench.other(upload, 0, stop) for stop in (100_000, 200_000)]
    for other in others:
        other.go()
    said = sorted(other.says() for other in others)

    def test(uploads: UploadService) -> None:
        offset = uploads.settle(upload.id).offset
        acknowledged = [int(words.split()[1]) for words in said if words.startswith("open")]
        lost = [words for words in said if not words.startswith("open")]
        assert acknowledged
        assert max(acknowledged) <= offset
        assert set(lost) <= {"Superseded", "WrongOffset"}
        completed(uploads, upload, offset)

    bench.run(test)


def test_names_of_processes() -> None:
    """A process that has ended, one that took its number, this one, and one of another machine."""
    here = name_of_process()
    machine, number, beginning = here.rsplit("/", 2)
    assert is_gone(here) is False
    assert is_gone(f"{machine}/{number}/{int(beginning) + 1}") is True
    with subprocess.Popen(["true"]) as ended:
        pass
    assert is_gone(f"{machine}/{ended.pid}/{beginning}") is True
    assert is_gone(f"elsewhere/{number}/{beginning}") is None
