"""Descriptors, small file systems, and writers that are held up."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from greenlets import DEADLINE, hub_writer, in_greenlet, wait_until

from cooperative_upload.settings import UploadSettings
from cooperative_upload.turns.writer import current_writer


def descriptors() -> dict[int, str]:
    """The open descriptors of this process, and what they are."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def open_files(directory: Path) -> int:
    """How many descriptors of this process are files in a directory, also nameless ones."""
    return sum(path.startswith(f"{directory}/") for path in descriptors().values())


@contextlib.contextmanager
def no_leaks(directory: Path) -> Iterator[None]:
    """In the end no file in the directory is open, nor one there that was not before."""
    names = sorted(os.listdir(directory))
    assert open_files(directory) == 0
    yield
    wait_until(lambda: open_files(directory) == 0)
    assert sorted(os.listdir(directory)) == names


@contextlib.contextmanager
def busy_disk(settings: UploadSettings) -> Iterator[threading.Event]:
    """All writing threads of this hub wait for the event, as for a slow disk."""
    released = threading.Event()
    started = threading.Semaphore(0)

    def wait() -> None:
        started.release()
        released.wait(DEADLINE)

    with hub_writer():
        jobs = [
            in_greenlet(lambda: current_writer(settings).start(wait))
            for _ in range(settings.writer_threads)
        ]
        try:
            for _ in jobs:
                wait_until(lambda: started.acquire(blocking=False))
            yield released
        finally:
            released.set()
            with contextlib.suppress(gevent.Timeout):
                for job in jobs:
                    in_greenlet(job.result)


@contextlib.contextmanager
def small_file_system(size: int, below: Path | None = None) -> Iterator[Path]:
    """A tmpfs of so many bytes, in a new directory; skips the test where none can be mounted."""
    path = tempfile.mkdtemp(prefix="cooperative-upload-", dir=below)
    try:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path]
        mounted: Any = subprocess.run(command, capture_output=True, text=True, check=False)
        if mounted.returncode:
            pytest.skip(f"no permission to mount a tmpfs: {mounted.stderr.strip()}")
        try:
            yield Path(path)
        finally:
            subprocess.run(["umount", "-l", path], check=True)
    finally:
        os.rmdir(path)
