"""A read of a spool that is broken off halfway: the next one begins where it began."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from disk import no_leaks
from greenlets import hub_scheduler, hub_writer, in_greenlet

from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool.disk_file import DiskFile
from cooperative_upload.spool.temporary_file import Spool

CONTENT = b"0123456789" * 100_000 + b"\n" + b"a line\n" * 10

READS: dict[str, Callable[[Spool], object]] = {
    "read": lambda spool: spool.read(),
    "read(n)": lambda spool: spool.read(900_000),
    "readline": lambda spool: spool.readline(),
    "readlines": lambda spool: spool.readlines(),
    "readinto": lambda spool: spool.readinto(bytearray(900_000)),
}


@pytest.mark.parametrize("how", READS)
@pytest.mark.parametrize("start", [0, 7])
def test_a_read_that_is_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, start: int
) -> None:
    """By a time-out while it waits for the disk, behind pieces that it had already."""
    settings = UploadSettings(spool_memory_bytes=0, spool_directory=str(tmp_path))
    hanging = [3]  # the third piece
    real = DiskFile.read

    def read(self: DiskFile, size: int, offset: int) -> bytes:
        hanging[0] -= 1
        if hanging[0] == 0:
            gevent.sleep(1000)
        return real(self, size, offset)

    def test() -> None:
        with Spool(settings) as spool:
            spool.write(CONTENT)
            spool.seek(start)
            with contextlib.suppress(gevent.Timeout), gevent.Timeout(0.05):
                READS[how](spool)
                pytest.fail("it was not broken off")
            assert spool.tell() == start
            assert spool.read(5) == CONTENT[start : start + 5]
            assert spool.read() == CONTENT[start + 5 :]
            assert spool.tell() == len(CONTENT)

    monkeypatch.setattr(DiskFile, "read", read)
    with no_leaks(tmp_path), hub_scheduler(), hub_writer():
        in_greenlet(test)
