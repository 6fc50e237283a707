"""Part buffers: what is put in comes out, from memory or from a file, and all is given back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disk import busy_disk, no_leaks, open_files
from greenlets import in_greenlet, running, wait_until
from hypothesis import given
from hypothesis import settings as settings_of_search
from hypothesis import strategies as st
from remote_store import content_of
from spools import content

from cooperative_upload.errors import StorageError
from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool.budgets import Budget
from cooperative_upload.storage.part_buffer import PartBuffer

KIB = 1024
Run = Callable[[Callable[[], Any]], Any]
runs = pytest.mark.parametrize("run", [in_greenlet, lambda function: function()])


@settings_of_search(deadline=None, max_examples=50)
@given(
    st.lists(st.sampled_from([1, 100, 4095, 4096, 10_000, 70_000, 300_000]), max_size=12),
    st.sampled_from([0, 1, 50_000, 1 << 30]),
)
def test_what_went_in_comes_out(sizes: list[int], most: int) -> None:
    budget = Budget(most)
    data = content(sum(sizes))

    def run() -> None:
        buffer = PartBuffer(budget, UploadSettings(spool_batch_bytes=100_000), ["sha-256"])
        at = 0
        for size in sizes:
            buffer.append(data[at : at + size])
            at += size
            assert budget.taken <= most
        assert buffer.seal() == buffer.seal() == {"sha-256": hashlib.sha256(data).digest()}
        assert buffer.size == len(data)
        assert content_of(buffer) == content_of(buffer) == data
        buffer.close()

    in_greenlet(run)
    assert budget.taken == 0


@runs
def test_past_the_budget_it_lies_in_a_file(run: Run, tmp_path: Path) -> None:
    budget = Budget(150_000)
    settings = UploadSettings(spool_directory=str(tmp_path))

    def fill() -> PartBuffer:
        buffer = PartBuffer(budget, settings)
        for _ in range(2):
            buffer.append(bytes(70_000))
        assert not buffer.is_on_disk
        assert budget.taken == 140_000
        for _ in range(100):
            buffer.append(b"x" * 70_000)
        return buffer

    with no_leaks(tmp_path):
        buffer = run(fill)
        assert buffer.is_on_disk
        assert open_files(tmp_path) == 1
        run(buffer.seal)
        assert budget.taken == 0
        assert run(lambda: content_of(buffer)) == bytes(140_000) + b"x" * 7_000_000
        run(buffer.close)


def test_many_small_blocks_are_kept_as_few_large_ones() -> None:
    """Else a client that sends byte by byte would cost forty times what is counted."""
    buffer = PartBuffer(Budget(1 << 20), UploadSettings())
    for number in range(20_000):
        buffer.append(bytes([number % 256]))
    buffer.seal()
    assert len(buffer._blocks) == 5
    assert content_of(buffer) == bytes(range(256)) * 78 + bytes(range(20_000 % 256))


def test_a_reader_tells_its_length_and_begins_anew() -> None:
    buffer = PartBuffer(Budget(1 << 20), UploadSettings())
    buffer.append(content(200_000))
    buffer.seal()
    reader = buffer.reader()
    assert reader.seek(0, 2) == 200_000
    assert reader.read() == b""
    assert reader.seek(0) == 0
    assert reader.read(1) == content(64 * KIB)
    assert reader.tell() == 64 * KIB
    with pytest.raises(ValueError, match="from its beginning"):
        reader.seek(5)


@pytest.mark.parametrize("most", [0, 1 << 20])
def test_closed_it_can_not_be_used(most: int) -> None:
    def run() -> None:
        buffer = PartBuffer(Budget(most), UploadSettings())
        buffer.append(bytes(10_000))
        buffer.seal()
        reader = buffer.reader()
        buffer.close()
        buffer.close()
        for use in (lambda: buffer.append(b"x"), buffer.seal, reader.read):
            with pytest.raises(ValueError, match="closed"):
                use()

    in_greenlet(run)


def test_closed_while_the_disk_is_busy_it_gives_all_back(tmp_path: Path) -> None:
    """As where the greenlet of a request is killed."""
    budget = Budget(100_000)
    settings = UploadSettings(spool_directory=str(tmp_path), spool_batch_bytes=50_000)
    buffer = PartBuffer(budget, settings)
    for _ in range(2):
        in_greenlet(lambda: buffer.append(bytes(60_000)))

    def write() -> None:
        while True:
            buffer.append(bytes(60_000))

    with busy_disk(settings):
        with running(write):
            wait_until(lambda: budget.taken)
        buffer.close()
        assert budget.taken == 0
    wait_until(lambda: open_files(tmp_path) == 0)


def test_a_disk_that_fails_is_a_storage_error(tmp_path: Path) -> None:
    settings = UploadSettings(spool_directory=str(tmp_path / "missing"))
    buffer = PartBuffer(Budget(0), settings)
    with pytest.raises(StorageError, match="No such file"):
        in_greenlet(lambda: buffer.append(bytes(10_000)))
    buffer.close()
