"""What kernels do other than their manual page says: no byte of a spool is lost by it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disk import no_leaks
from greenlets import hub_scheduler, hub_writer, in_greenlet

from cooperative_upload.errors import StorageError
from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool import disk_file as disk_file_module
from cooperative_upload.spool.temporary_file import Spool

CONTENT = bytes(range(256)) * 4 * 3 * 1024  # 3 MiB


@pytest.fixture
def spool(tmp_path: Path) -> Any:
    with no_leaks(tmp_path), hub_scheduler(), hub_writer():

        def filled() -> Spool:
            spool = Spool(UploadSettings(spool_memory_bytes=0, spool_directory=str(tmp_path)))
            spool.write(CONTENT)
            spool.seek(0)
            return spool

        made = in_greenlet(filled)
        yield made
        in_greenlet(made.close)


@pytest.mark.parametrize("read", [Spool.read, lambda spool: b"".join(spool.blocks())])
def test_nothing_without_waiting_is_not_the_end(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, read: Callable[[Spool], bytes]
) -> None:
    """Linux 5.9 and 5.10 return 0 for what they would have to wait for (preadv2(2), BUGS)."""
    real, empty = os.preadv, []

    def preadv(descriptor: int, buffers: Any, offset: int, flags: int = 0) -> int:
        if flags and offset >= 1 << 20:
            empty.append(offset)
            return 0
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(disk_file_module, "_NO_WAIT", 8)
    monkeypatch.setattr(os, "preadv", preadv)
    assert in_greenlet(lambda: read(spool)) == CONTENT
    assert empty


def test_a_file_that_ends_too_early_is_an_error(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a disk has lost something: what is missing is never taken for the end."""

    def shorten_and_read() -> None:
        os.ftruncate(spool.fileno(), 1000)
        spool.read()

    with pytest.raises(StorageError, match=r"the file ends at 1,000 of 3,145,728 bytes"):
        in_greenlet(shorten_and_read)
