"""Bytes into files and from one into another: all of them, in steps."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cooperative_upload.spool import file_content
from cooperative_upload.spool.file_content import append, copied, write_all

CONTENT = b"some content" * 100


@pytest.fixture
def source(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    append(descriptor, b"before ")
    yield descriptor
    os.close(descriptor)


def content(descriptor: int) -> bytes:
    return os.pread(descriptor, 1 << 20, 0)


@pytest.fixture(params=["by the kernel", "refused by the kernel", "not in this Python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise OSError(errno.EXDEV, "another file system")

    if request.param == "refused by the kernel":
        monkeypatch.setattr(os, "copy_file_range", refuse)
    elif request.param == "not in this Python":
        monkeypatch.delattr(os, "copy_file_range")


def test_write_all(target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the system writes less than it was given."""
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, blocks, at: real(fd, [blocks[0][:1]], at))
    write_all(target, [b"one", b"", b"two"], 7)
    assert content(target) == b"before onetwo"


def test_write_all_of_a_full_disk(target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that writes nothing, and says nothing, is full."""
    monkeypatch.setattr(os, "pwritev", lambda *_: 0)
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    with pytest.raises(OSError, match="space") as caught:
        write_all(target, [b"one"], 7)
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("start", "end", "steps"),
    [(0, 1200, 12), (50, 1200, 12), (50, 1150, 11), (1199, 1200, 1), (700, 700, 0), (900, 700, 0)],
)
def test_copied(
    source: int, target: int, start: int, end: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From an offset on, at the end of the target; others may come in between two steps."""
    monkeypatch.setattr(file_content, "STEP_BYTES", 100)
    sizes = [os.fstat(target).st_size for _ in copied(source, start, end, target)]
    assert content(target) == b"before " + CONTENT[start:end]
    assert sizes == [len(b"before ") + 100 * number for number in range(1, steps)]


def test_copied_to_a_pipe(source: int) -> None:
    """Which the kernel does not copy to."""
    reading, writing = os.pipe()
    for _ in copied(source, 0, len(CONTENT), writing):
        pass
    os.close(writing)
    with open(reading, "rb") as pipe:
        assert pipe.read() == CONTENT


@pytest.mark.usefixtures("way")
def test_a_source_that_ends_early(source: int, target: int) -> None:
    """Is an error, and no shorter copy."""
    with pytest.raises(OSError, match="ends at 1,200 of 1,300 bytes"):
        list(copied(source, 0, 1300, target))


@pytest.mark.usefixtures("way")
def test_an_error_of_the_target(source: int) -> None:
    """Is raised as the system says it."""
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError, match="space"):
        list(copied(source, 0, len(CONTENT), full.fileno()))


def test_append_to_a_pipe_that_takes_little() -> None:
    """All of it, in as many writes as it takes."""
    data = bytes(range(256)) * 2000
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from cooperative_upload.spool.file_content import append; "
            "append(1, bytes(range(256)) * 2000)",
        ],
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert done.stdout == data
