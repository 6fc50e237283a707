"""What reads and writes a spool as any other file: csv, zipfile, mmap, other processes."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import mmap
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from spools import Run, content

from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool.temporary_file import Spool


@pytest.fixture(params=["memory", "disk"])
def filled(
    request: pytest.FixtureRequest, directory: Path
) -> Callable[[bytes], contextlib.AbstractContextManager[Spool]]:
    """A spool of given content, positioned at its start, in memory or on disk."""

    @contextlib.contextmanager
    def make(data: bytes) -> Iterator[Spool]:
        limit = len(data) if request.param == "memory" else 0
        with Spool(
            UploadSettings(spool_memory_bytes=limit, spool_directory=str(directory))
        ) as spool:
            spool.write(data)
            spool.seek(0)
            yield spool

    return make


Filled = Callable[[bytes], contextlib.AbstractContextManager[Spool]]


def test_csv(run: Run, filled: Filled) -> None:
    """Text over a TextIOWrapper."""
    rows = [[str(number), "x" * 50, "zwölf\n"] for number in range(3000)]
    text = io.StringIO()
    csv.writer(text).writerows(rows)

    def test() -> None:
        with filled(text.getvalue().encode()) as spool:
            wrapper = io.TextIOWrapper(spool, "utf-8", newline="")
            assert list(csv.reader(wrapper)) == rows
            wrapper.detach()

    run(test)


def test_zipfile(run: Run, filled: Filled) -> None:
    """Random access: the directory at the end first."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for number in range(20):
            archive.writestr(f"{number}", content(number * 10_000))

    def test() -> None:
        with filled(data.getvalue()) as spool, zipfile.ZipFile(spool) as archive:
            assert archive.testzip() is None
            assert archive.read("7") == content(70_000)

    run(test)


def test_a_zipfile_is_written_into_it(run: Run, filled: Filled) -> None:
    """An application may use it as its own temporary file."""

    def test() -> None:
        with filled(b"") as spool:
            with zipfile.ZipFile(spool, "w") as archive:
                archive.writestr("a", content(100_000))
                with archive.open("b", "w") as part:
                    part.write(content(50_000))
            spool.seek(0)
            with zipfile.ZipFile(spool) as archive:
                assert archive.read("a") == content(100_000)
                assert archive.read("b") == content(50_000)

    run(test)


def test_hashlib(run: Run, filled: Filled) -> None:
    """file_digest() where Python has it, and the loop that everyone writes."""
    data = content(1_000_000)

    def test() -> None:
        with filled(data) as spool:
            digest = hashlib.sha256()
            for block in iter(lambda: spool.read(8192), b""):
                digest.update(block)
            assert digest.digest() == hashlib.sha256(data).digest()
            if sys.version_info >= (3, 11):
                spool.seek(0)
                assert hashlib.file_digest(spool, "sha256").digest() == digest.digest()

    run(test)


def test_copyfileobj(run: Run, filled: Filled) -> None:
    """In both directions."""
    data = content(600_000)

    def test() -> None:
        with filled(data) as spool, filled(b"") as other:
            shutil.copyfileobj(spool, other)
            other.seek(0)
            assert other.read() == data

    run(test)


def test_buffered_reader(run: Run, filled: Filled) -> None:
    """As the raw file below a BufferedReader."""
    data = content(300_000)

    def test() -> None:
        with filled(data) as spool:
            reader: Any = io.BufferedReader(spool)
            assert reader.peek(1)[:1] == data[:1]
            assert reader.read() == data
            reader.detach()

    run(test)


def test_mmap(run: Run, filled: Filled) -> None:
    """Over fileno()."""
    data = content(300_000)

    def test() -> None:
        with (
            filled(data) as spool,
            mmap.mmap(spool.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            assert mapped[:] == data

    run(test)


def test_subprocess(run: Run, filled: Filled) -> None:
    """As a child's stdin, from the position on."""
    data = content(300_000)

    def test() -> None:
        with filled(data) as spool:
            spool.read(1000)
            stdin: Any = spool
            done = subprocess.run(["cat"], stdin=stdin, capture_output=True, check=True)
            assert done.stdout == data[1000:]

    run(test)
