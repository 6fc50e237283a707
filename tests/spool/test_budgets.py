"""What the files of a form may hold: memory, and descriptors."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest
from disk import busy_disk, no_leaks, open_files
from greenlets import hub_scheduler, hub_writer, in_greenlet, join, wait_until

from cooperative_upload.errors import StorageBusy
from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool import request_spools
from cooperative_upload.spool.budgets import Budget
from cooperative_upload.spool.request_spools import worker_budgets
from cooperative_upload.spool.temporary_file import Spool, spools_closed_at_the_end

SIZE = 1000


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "spools"
    path.mkdir()
    with no_leaks(path):
        yield path


@pytest.fixture
def settings(directory: Path, monkeypatch: pytest.MonkeyPatch) -> UploadSettings:
    """Those of a worker that has held nothing so far: all files go to disk."""
    monkeypatch.setattr(request_spools, "_of_process", None)
    return UploadSettings(
        spool_directory=str(directory),
        spool_memory_bytes=0,
        spool_request_files=4,
        spool_worker_files=100,
    )


def content(number: int) -> bytes:
    return bytes([number % 256]) * (SIZE + number)


def filled(settings: UploadSettings, number: int) -> Spool:
    """As the form parser leaves the part of this number."""
    spool = Spool(settings)
    spool.write(content(number))
    spool.seek(0)
    return spool


# The numbers.


def test_a_budget() -> None:
    """All or nothing, in the larger one too."""
    worker = Budget(100)
    one, other = Budget(80, part_of=worker), Budget(80, part_of=worker)
    assert one.take(70)
    assert not one.take(20)
    assert not other.take(40)
    assert other.take(30)
    assert (one.taken, other.taken, worker.taken) == (70, 30, 100)
    one.give_back(70)
    assert other.take(50)
    assert (one.taken, other.taken, worker.taken) == (0, 80, 80)


# Descriptors.


def test_a_form_with_a_thousand_files(settings: UploadSettings, directory: Path) -> None:
    """Past the budget of the request they share a file, and nobody reads another's bytes."""
    with spools_closed_at_the_end():
        spools = [filled(settings, number) for number in range(1000)]
        assert open_files(directory) == settings.spool_request_files + 1
        for number, spool in enumerate(spools):
            assert spool.read() == content(number)
            assert spool.read() == b""
            assert spool.seek(0, os.SEEK_END) == len(content(number))
    assert open_files(directory) == 0
    assert worker_budgets(settings).files.taken == 0


def test_what_a_packed_file_can_do(
    settings: UploadSettings, directory: Path, tmp_path: Path
) -> None:
    """All that a Spool can: what needs a file of its own gets one."""
    with spools_closed_at_the_end():
        spools = [filled(settings, number) for number in range(20)]
        packed = spools[10]
        assert packed.name is None
        packed.save_to(tmp_path / "saved")
        packed.seek(500)
        packed.write_to(tmp_path / "rest")
        assert (tmp_path / "saved").read_bytes() == content(10)
        assert (tmp_path / "rest").read_bytes() == content(10)[500:]
        before = open_files(directory)
        assert os.pread(packed.fileno(), 1 << 20, 0) == content(10)
        assert open_files(directory) == before + 1
        spools[11].seek(0, os.SEEK_END)
        spools[11].write(b"more")  # there is somebody behind it
        spools[12].truncate(10)
        spools[13].seek(5)
        spools[13].write(b"XXX")  # within it
        spools[19].seek(0, os.SEEK_END)
        spools[19].write(b"more")  # the last one has room
        spools[14].move_to(tmp_path / "moved")
        changed = {
            11: content(11) + b"more",
            12: content(12)[:10],
            13: content(13)[:5] + b"XXX" + content(13)[8:],
            19: content(19) + b"more",
        }
        for number, spool in enumerate(spools):
            if number == 14:
                assert spool.closed
                continue
            spool.seek(0)
            assert spool.read() == changed.get(number, content(number))
        assert (tmp_path / "moved").read_bytes() == content(14)


def test_one_that_is_kept_outlives_the_packed_file(
    settings: UploadSettings, directory: Path
) -> None:
    with spools_closed_at_the_end():
        kept = [filled(settings, number) for number in range(20)][15].keep()
    assert open_files(directory) == 1
    with kept:
        assert kept.read() == content(15)


def test_files_that_are_written_at_once(settings: UploadSettings, directory: Path) -> None:
    """By greenlets of one request, block by block, beyond each other's beginnings."""

    def request() -> None:
        with spools_closed_at_the_end():
            spools = [Spool(replace(settings, spool_batch_bytes=4096)) for _ in range(12)]
            for block in range(40):
                for number, spool in enumerate(spools):
                    spool.write(bytes([number]) * (300 + block))
            for number, spool in enumerate(spools):
                spool.seek(0)
                assert spool.read() == bytes([number]) * sum(300 + block for block in range(40))

    with hub_scheduler(), hub_writer():
        join(*(gevent.spawn(request) for _ in range(3)))
        wait_until(lambda: open_files(directory) == 0)


def test_a_request_that_ends_while_the_packed_file_is_made(
    settings: UploadSettings, directory: Path
) -> None:
    """It is closed, by whoever comes last."""
    with hub_scheduler(), hub_writer():
        requests: list[Any] = []

        def begin() -> None:
            with spools_closed_at_the_end() as spools:
                requests.append(spools)
                for number in range(settings.spool_request_files):
                    filled(settings, number)
                gevent.sleep(1000)

        greenlet = gevent.spawn(begin)
        wait_until(lambda: requests and len(requests[0].open) == settings.spool_request_files)
        with busy_disk(settings) as released:
            late: Any = gevent.spawn(requests[0].file_on_disk, settings)
            gevent.sleep(0)
            greenlet.kill()
            released.set()
            join(late)
            late.value.close()
            wait_until(lambda: open_files(directory) == 0)
    assert worker_budgets(settings).files.taken == 0


def test_the_first_file_of_a_request_goes_before_the_others(
    settings: UploadSettings, directory: Path
) -> None:
    """Forms with many files take half of the worker's files; the rest is one for each upload, and
    past them an upload is refused."""
    few = replace(settings, spool_worker_files=8, spool_request_files=100)
    with spools_closed_at_the_end():
        many = [filled(few, number) for number in range(50)]
        assert open_files(directory) == 1 + 4 + 1  # its first, half of eight, the packed one
        with spools_closed_at_the_end():
            first = filled(few, 1)
            assert open_files(directory) == 7
        with spools_closed_at_the_end(), spools_closed_at_the_end():
            filled(few, 2)
            with spools_closed_at_the_end():
                filled(few, 3)
                with spools_closed_at_the_end() as refused:
                    with pytest.raises(StorageBusy) as caught:
                        filled(few, 4)
                    assert caught.value.errno == errno.EMFILE
                    assert refused.error is caught.value
        assert first.closed
        assert [spool.read() for spool in many] == [content(number) for number in range(50)]
    assert worker_budgets(few).files.taken == 0


def test_half_of_the_descriptors(settings: UploadSettings) -> None:
    """Unless the operator says how many."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    by_default = request_spools.WorkerBudgets(replace(settings, spool_worker_files=0))
    assert by_default.files.take(limit // 2)
    assert not by_default.files.take(1)


# Memory.


def test_the_memory_of_a_request(settings: UploadSettings, directory: Path) -> None:
    """Files that would each stay in memory go to disk when they are too much together."""
    in_memory = replace(
        settings,
        spool_memory_bytes=5000,
        spool_request_memory_bytes=10_500,
        spool_batch_bytes=4096,
    )
    with spools_closed_at_the_end():
        spools = [filled(in_memory, 0) for _ in range(30)]
        rolled = [spool._rolled for spool in spools]
        assert rolled == [False] * 10 + [True] * 20
        assert worker_budgets(in_memory).memory.taken == 10 * SIZE
        for spool in spools[:5]:
            spool.close()
        assert worker_budgets(in_memory).memory.taken == 5 * SIZE
        assert not filled(in_memory, 0)._rolled
        assert all(spool.read() == content(0) for spool in spools[5:])
    assert worker_budgets(in_memory).memory.taken == 0


def test_the_memory_of_a_worker(settings: UploadSettings, directory: Path) -> None:
    """Of all requests, and of spools that belong to none."""
    small = replace(settings, spool_memory_bytes=5000, spool_worker_memory_bytes=2500)
    with spools_closed_at_the_end(), Spool(small) as of_nobody:
        of_nobody.write(content(0))
        first, second = filled(small, 0), filled(small, 0)
        assert [first._rolled, second._rolled] == [False, True]
        kept = first.keep()
    assert worker_budgets(small).memory.taken == len(content(0))
    kept.close()
    assert worker_budgets(small).memory.taken == 0


def test_batches_count(settings: UploadSettings, directory: Path) -> None:
    """What is collected to be written is in memory too: past the budget each block is written."""
    small = replace(settings, spool_worker_memory_bytes=3 * SIZE)
    with hub_scheduler(), hub_writer():

        def upload() -> None:
            with spools_closed_at_the_end():
                spools = [Spool(small) for _ in range(10)]
                for _ in range(5):
                    for spool in spools:
                        spool.write(content(0))
                        assert worker_budgets(small).memory.taken <= 3 * SIZE
                for spool in spools:
                    spool.seek(0)
                    assert spool.read() == content(0) * 5

        in_greenlet(upload)
        wait_until(lambda: open_files(directory) == 0)
    assert worker_budgets(small).memory.taken == 0


def test_a_failed_write_gives_its_memory_back(
    settings: UploadSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "full")

    with spools_closed_at_the_end():
        spool = Spool(settings)
        spool.write(content(0))
        monkeypatch.setattr(os, "pwritev", fail)
        with pytest.raises(OSError, match="full"):
            spool.flush()
    assert worker_budgets(settings).memory.taken == 0
