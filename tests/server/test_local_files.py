"""What is sent: read in order, found out if it changes, never waited for on the loop."""

from __future__ import annotations

import os
from pathlib import Path

import gevent
import pytest

from cooperative_upload.server.local_files import (
    BLOCK,
    LocalChange,
    LocalFault,
    LocalFile,
    content_type,
    open_local,
)

CONTENT = os.urandom(2 * BLOCK + 5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize(
    ("start", "stop"), [(0, None), (0, len(CONTENT)), (5, BLOCK), (BLOCK, BLOCK), (BLOCK, None)]
)
def test_a_range_is_read(path: Path, start: int, stop: int | None) -> None:
    with open_local(str(path)) as file:
        assert file.size == len(CONTENT)
        assert b"".join(file.blocks(start, stop)) == CONTENT[start:stop]
        file.check_unchanged()


def test_a_file_that_becomes_shorter_is_found_out(path: Path) -> None:
    with open_local(str(path)) as file:
        os.truncate(path, BLOCK)
        with pytest.raises(LocalChange, match="became shorter while it was sent"):
            list(file.blocks(0, file.size))


def test_a_file_that_is_written_to_is_found_out(path: Path) -> None:
    with open_local(str(path)) as file:
        with path.open("r+b") as other:
            other.write(b"x")
        os.utime(path, ns=(0, 0))
        with pytest.raises(LocalChange, match="was changed while it was sent"):
            file.check_unchanged()


def test_one_that_another_takes_the_place_of_stays_as_it_was(path: Path) -> None:
    with open_local(str(path)) as file:
        path.with_name("b").write_bytes(b"new")
        path.with_name("b").replace(path)
        assert b"".join(file.blocks(0, file.size)) == CONTENT
        file.check_unchanged()


def test_what_can_not_be_read_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LocalFault, match=r"nothing can't be read: No such file or directory\."):
        open_local(str(tmp_path / "nothing"))
    with pytest.raises(LocalFault, match="is a directory"):
        open_local(str(tmp_path))


def test_others_run_while_a_pipe_is_waited_for() -> None:
    reading, writing = os.pipe()
    with LocalFile("pipe", os.fdopen(reading, "rb", 0)) as file:
        assert file.size is None
        found: list[bytes] = []
        reader = gevent.spawn(lambda: found.extend(file.blocks()))
        gevent.sleep(0)
        for word in (b"one", b"two"):
            os.write(writing, word)
            while word not in found:
                gevent.sleep(0.001)
        os.close(writing)
        reader.get(timeout=10)
    assert found == [b"one", b"two"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.pdf", "application/pdf"),
        ("a.tar.gz", "application/gzip"),
        ("a.txt.xz", "application/x-xz"),
        ("folder.d/a", None),
        ("a.unheard-of", None),
    ],
)
def test_content_types_are_those_of_names(name: str, kind: str | None) -> None:
    assert content_type(name) == kind
