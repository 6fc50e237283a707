"""What a spool does when its disk is full, takes little or is gone, and whose fault it is."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disk import small_file_system
from greenlets import wait_until
from spools import BATCH, MEMORY, Run, content, fill

from cooperative_upload.errors import StorageError
from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool.temporary_file import Spool, spools_closed_at_the_end

# Errors of the disk.


def test_no_space(run: Run) -> None:
    """Raised, and raised again by each further use; the space comes back when it is closed."""
    with small_file_system(500_000) as path:
        free = os.statvfs(path).f_bavail
        settings = UploadSettings(
            spool_memory_bytes=0, spool_batch_bytes=100_000, spool_directory=str(path)
        )

        def test() -> None:
            spool = Spool(settings)
            with pytest.raises(OSError, match="No space") as caught:
                fill(spool, 1_000_000)
            assert caught.value.errno == errno.ENOSPC
            calls: list[Callable[[], Any]] = [
                lambda: spool.write(b"x"),
                lambda: spool.seek(0),
                spool.read,
                spool.readline,
                spool.tell,
                spool.flush,
                spool.fileno,
                lambda: spool.truncate(0),
                lambda: spool.save_to(path / "saved"),
            ]
            for call in calls:
                with pytest.raises(OSError, match="No space") as caught:
                    call()
                assert caught.value.errno == errno.ENOSPC
            assert os.listdir(path) == []
            spool.close()

        run(test)
        wait_until(lambda: os.statvfs(path).f_bavail == free)
        with_room = UploadSettings(spool_memory_bytes=0, spool_directory=str(path))

        def again() -> None:
            with Spool(with_room) as spool:
                fill(spool, 300_000)
                assert len(spool.read()) == 300_000

        run(again)


def test_no_space_for_a_copy(run: Run, settings: UploadSettings) -> None:
    """The destination's file system is full: nothing appears there, the stream is as it was."""

    def test(path: Path) -> None:
        with Spool(settings) as spool:
            fill(spool, 500_000)
            with pytest.raises(OSError, match="No space"):
                spool.save_to(path / "saved")
            assert os.listdir(path) == []
            assert spool.tell() == 0
            assert len(spool.read()) == 500_000

    with small_file_system(200_000) as path:
        run(lambda: test(path))


def test_file_size_limit(directory: Path) -> None:
    """RLIMIT_FSIZE: a short write, then EFBIG."""
    program = f"""if True:
        import resource, signal, gevent, errno
        from cooperative_upload import Spool, UploadSettings
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_001, 100_001))
        settings = UploadSettings(
            spool_memory_bytes=0, spool_batch_bytes=30_000, spool_directory={str(directory)!r})

        def test():
            with Spool(settings) as spool:
                spool.write(bytes(100_001))
                spool.flush()
                for _ in range(2):
                    try:
                        spool.write(b"x")
                        spool.flush()
                    except OSError as error:
                        assert error.errno == errno.EFBIG, error
                    else:
                        raise SystemExit("no error")

        test()
        gevent.spawn(test).get()
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


@pytest.mark.parametrize("most", [1, 1000])
def test_short_writes(
    run: Run, settings: UploadSettings, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """A system that takes a part of each write at a time."""
    pwrite, calls = os.pwrite, []

    def short(descriptor: int, data: Any, offset: int) -> int:
        calls.append(offset)
        return pwrite(descriptor, memoryview(data)[:most], offset)

    monkeypatch.setattr(
        os, "pwritev", lambda fd, blocks, offset, flags=0: short(fd, b"".join(blocks), offset)
    )
    monkeypatch.setattr(os, "pwrite", short)
    data = content(MEMORY + 5000)

    def test() -> None:
        with Spool(settings) as spool:
            for start in range(0, len(data), 3000):
                spool.write(data[start : start + 3000])
            spool.seek(0)
            assert spool.read() == data
            assert len(calls) >= len(data) // most

    run(test)


def test_a_write_that_takes_nothing(
    run: Run, settings: UploadSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is no reason to try for ever."""
    monkeypatch.setattr(os, "pwritev", lambda *_: 0)
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)

    def test() -> None:
        with Spool(settings) as spool, pytest.raises(OSError, match="No space"):
            fill(spool, 100_000)

    run(test)


def test_no_directory(run: Run, tmp_path: Path) -> None:
    """A spool directory that is gone is an error of the write, and leaves nothing open."""
    missing = UploadSettings(spool_memory_bytes=0, spool_directory=str(tmp_path / "missing"))

    def test() -> None:
        with Spool(missing) as spool, pytest.raises(StorageError) as caught:
            spool.write(b"x")
        assert caught.value.errno == errno.ENOENT

    run(test)


# What is whose fault.


def test_a_full_spool_directory_is_told_to_the_request(run: Run) -> None:
    """With the status for it, by each operation from then on, and to whoever looks afterwards."""

    def test(path: Path) -> None:
        full = UploadSettings(
            spool_memory_bytes=0, spool_batch_bytes=BATCH, spool_directory=str(path)
        )
        with spools_closed_at_the_end() as spools:
            assert spools.error is None
            spool = Spool(full)
            with pytest.raises(StorageError) as caught:
                fill(spool, 500_000)
            assert (caught.value.code, caught.value.errno) == (507, errno.ENOSPC)
            assert spools.error is caught.value
            for again in (spool.flush, spool.read, lambda: spool.save_to(path / "saved")):
                with pytest.raises(StorageError) as later:
                    again()
                assert later.value is caught.value
            assert spools.error is caught.value
        assert os.listdir(path) == []

    with small_file_system(200_000) as path:
        run(lambda: test(path))


def test_a_full_destination_is_the_servers_fault_too(run: Run, settings: UploadSettings) -> None:
    """save_to() a file system without room: a 507, from memory and from the disk."""

    def test(path: Path) -> None:
        for size, memory in ((500_000, 0), (500_000, 1 << 20)):
            with spools_closed_at_the_end() as spools:
                spool = Spool(dataclasses.replace(settings, spool_memory_bytes=memory))
                fill(spool, size)
                spool.seek(0)
                with pytest.raises(StorageError) as caught:
                    spool.save_to(path / "saved")
                assert (caught.value.code, caught.value.errno) == (507, errno.ENOSPC)
                assert spools.error is caught.value
                assert os.listdir(path) == []
                assert len(spool.read()) == size, "what was received is still there"

    with small_file_system(200_000) as path:
        run(lambda: test(path))


@pytest.mark.parametrize("size", [0, MEMORY, 50_000])
@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("missing/saved", FileNotFoundError),
        ("file/saved", NotADirectoryError),
        ("directory", IsADirectoryError),
        ("x" * 300, OSError),
    ],
)
def test_a_wrong_path_is_the_applications_choice(
    run: Run,
    settings: UploadSettings,
    tmp_path: Path,
    size: int,
    where: str,
    error: type[OSError],
) -> None:
    """The error of open(path, "wb"), and no fault of the storage: nobody is told of one."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "directory").mkdir()

    def test() -> None:
        with spools_closed_at_the_end() as spools:
            spool = Spool(settings)
            fill(spool, size)
            spool.seek(0)
            with pytest.raises(error) as caught:
                spool.save_to(tmp_path / where)
            with pytest.raises(error) as expected:
                (tmp_path / where).write_bytes(b"")
            assert type(caught.value) is type(expected.value)
            assert caught.value.errno == expected.value.errno
            assert spools.error is None
            assert len(spool.read()) == size

    run(test)
    assert sorted(os.listdir(tmp_path)) == ["directory", "file", "spools"]


@pytest.mark.parametrize("by", ["spool", "save"])
def test_without_descriptors(directory: Path, tmp_path: Path, by: str) -> None:
    """A lack that passes: a 503."""
    program = f"""if True:
        import os, resource
        from cooperative_upload import Spool, StorageError, UploadSettings
        spool = Spool(UploadSettings(
            spool_memory_bytes={0 if by == "spool" else 100}, spool_directory={str(directory)!r}
        ))
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, highest))
        taken = []
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        try:
            spool.write(b"x")
            spool.seek(0)
            spool.save_to({str(tmp_path / "saved")!r})
        except StorageError as error:
            assert (error.code, error.errno) == (503, {errno.EMFILE}), error
        else:
            raise SystemExit("no error")
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "saved").exists()


def test_the_last_error_of_a_request_counts(settings: UploadSettings, tmp_path: Path) -> None:
    """Those of other requests, and of spools of none, are not its own."""
    missing = UploadSettings(spool_memory_bytes=0, spool_directory=str(tmp_path / "missing"))
    stray = Spool(missing)
    with spools_closed_at_the_end() as spools:
        for spool in (stray, Spool(settings)):
            with contextlib.suppress(StorageError):
                spool.write(b"x")
        assert spools.error is None
        errors = []
        for _ in range(2):
            with pytest.raises(StorageError) as caught:
                Spool(missing).write(b"x")
            errors.append(caught.value)
        assert spools.error is errors[1]
        with spools_closed_at_the_end() as inner:
            assert inner.error is None
        assert spools.error is errors[1]
    stray.close()
