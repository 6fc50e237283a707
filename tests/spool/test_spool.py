"""Spool: a SpooledTemporaryFile that never blocks the loop."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import errno
import hashlib
import io
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from disk import busy_disk, no_leaks, open_files, small_file_system
from greenlets import (
    FOREVER,
    hub_scheduler,
    hub_writer,
    in_greenlet,
    join,
    running,
    spinning,
    wait_until,
)
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cooperative_upload.errors import StorageError
from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool import temporary_file as spool_module
from cooperative_upload.spool.request_spools import spools_of_request
from cooperative_upload.spool.temporary_file import Spool, spools_closed_at_the_end

MEMORY = 10_000
BATCH = 4096


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Where the spools' files are; none of them is left over."""
    path = tmp_path / "spools"
    path.mkdir()
    with no_leaks(path):
        yield path


@pytest.fixture
def settings(directory: Path) -> UploadSettings:
    """Small thresholds."""
    return UploadSettings(
        spool_memory_bytes=MEMORY, spool_batch_bytes=BATCH, spool_directory=str(directory)
    )


@pytest.fixture(params=["greenlet", "no hub"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Runs a test in a greenlet, where threads write, and without a hub, where nobody waits."""
    if request.param == "no hub":
        yield lambda function: function()
    else:
        with hub_scheduler(), hub_writer():
            yield in_greenlet


Run = Callable[[Callable[[], Any]], Any]


def content(size: int) -> bytes:
    """Bytes whose blocks of eight tell their places."""
    return b"".join(number.to_bytes(8, "big") for number in range(size // 8 + 1))[:size]


# As the model.


class SpoolMachine(RuleBasedStateMachine):
    """Whatever is done to a spool gives what it gives with tempfile.SpooledTemporaryFile."""

    directory = ""
    saves: Path

    def __init__(self) -> None:
        super().__init__()
        self.saved: list[tuple[Path, bytes]] = []

    @initialize(memory=st.sampled_from([1, 10, 500, 6000]))
    def begin(self, memory: int) -> None:
        self.model: Any = tempfile.SpooledTemporaryFile(max_size=memory)  # noqa: SIM115
        self.spool = Spool(
            UploadSettings(
                spool_memory_bytes=memory, spool_batch_bytes=BATCH, spool_directory=self.directory
            )
        )

    sizes = st.one_of(st.integers(0, 20), st.integers(0, 10_000))
    limits = st.one_of(st.integers(-1, 20), st.integers(0, 10_000), st.none())
    data = st.builds(
        lambda text, times: text * times,
        st.sampled_from([b"a", b"bc\n", b"\n", b"defgh"]),
        st.one_of(st.integers(0, 10), st.integers(0, 2000)),
    )

    @rule(data=data, kind=st.sampled_from([bytes, bytearray, memoryview]))
    def write(self, data: bytes, kind: Callable[[bytes], Any]) -> None:
        assert self.spool.write(kind(data)) == self.model.write(data)

    @rule(lines=st.lists(data, max_size=5))
    def writelines(self, lines: list[bytes]) -> None:
        self.spool.writelines(lines)
        self.model.writelines(lines)

    @rule(size=limits)
    def read(self, size: int | None) -> None:
        assert self.spool.read(size) == self.model.read(-1 if size is None else size)

    @rule(size=sizes)
    def read1(self, size: int) -> None:
        data = self.spool.read1(size)
        assert data == self.model.read(len(data))
        assert bool(data) == bool(size and self.model_has_more(len(data)))

    def model_has_more(self, taken: int) -> bool:
        position = self.model.tell()
        end = self.model.seek(0, 2) or self.model.tell()
        self.model.seek(position)
        return bool(position - taken < end)

    @rule(size=sizes)
    def readinto(self, size: int) -> None:
        buffer = bytearray(size)
        count = self.spool.readinto(buffer)
        assert bytes(buffer[:count]) == self.model.read(size)

    @rule(size=limits)
    def readline(self, size: int | None) -> None:
        limit = -1 if size is None else size
        assert self.spool.readline(size) == self.model.readline(limit)

    @rule(hint=st.integers(-1, 100))
    def readlines(self, hint: int) -> None:
        # As io.BytesIO stops; a BufferedReader reads one line more if they end at the hint.
        lines = self.spool.readlines(hint)
        position = self.model.tell()
        assert lines == io.BytesIO(self.model.read()).readlines(hint)
        self.model.seek(position + sum(map(len, lines)))

    @rule(count=st.integers(1, 5))
    def iterate(self, count: int) -> None:
        for _ in range(count):
            assert next(self.spool, b"") == self.model.readline()

    @rule(place=sizes)
    def seek(self, place: int) -> None:
        assert self.spool.seek(place) == place
        self.model.seek(place)

    @rule(offset=st.integers(-50, 50), whence=st.sampled_from([os.SEEK_CUR, os.SEEK_END]))
    def seek_relatively(self, offset: int, whence: int) -> None:
        if whence == os.SEEK_END:
            self.model.seek(0, 2)
        place = max(0, self.model.tell() + offset)
        self.model.seek(place)
        if whence == os.SEEK_END:
            self.spool.seek(0, 2)
            offset = place - self.spool.tell()
            assert self.spool.seek(offset, whence) == place
        else:
            assert self.spool.seek(place - self.spool.tell(), whence) == place

    @rule(size=limits)
    def truncate(self, size: int | None) -> None:
        wanted = self.spool.tell() if size is None or size < 0 else size
        assert self.spool.truncate(None if size is None or size < 0 else size) == wanted
        self.model.truncate(wanted)

    @rule()
    def flush(self) -> None:
        self.spool.flush()
        self.model.flush()

    @rule()
    def fileno(self) -> None:
        descriptor = self.spool.fileno()
        self.model.fileno()
        assert descriptor == self.spool.name
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == self.model.tell()
        assert os.pread(descriptor, 1 << 20, 0) == self.everything()

    def everything(self) -> bytes:
        position = self.model.tell()
        self.model.seek(0)
        data: bytes = self.model.read()
        self.model.seek(position)
        return data

    @precondition(lambda self: len(self.saved) < 3)
    @rule()
    def save(self) -> None:
        path = self.saves / f"{id(self)}-{len(self.saved)}"
        self.spool.save_to(path)
        self.saved.append((path, self.model.read()))

    @invariant()
    def same_place(self) -> None:
        assert self.spool.tell() == self.model.tell()
        assert not self.spool.closed

    @invariant()
    def saved_files_stay_as_they_were(self) -> None:
        for path, data in self.saved:
            assert path.read_bytes() == data

    def teardown(self) -> None:
        if not hasattr(self, "spool"):
            return
        try:
            self.spool.seek(0)
            assert self.spool.read() == self.everything()
            assert self.spool.seek(0, 2) == len(self.everything())
        finally:
            self.spool.close()
            self.model.close()
            for path, _ in self.saved:
                path.unlink()


def test_as_spooledtemporaryfile(
    run: Run, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any sequence of calls, over all thresholds, with saves in between."""
    monkeypatch.setattr(spool_module, "BLOCK_BYTES", 100)
    monkeypatch.setattr(spool_module, "_WINDOW_BYTES", 700)
    monkeypatch.setattr(spool_module, "_MOST_BLOCKS", 3)
    monkeypatch.setattr(SpoolMachine, "directory", str(directory))
    monkeypatch.setattr(SpoolMachine, "saves", tmp_path, raising=False)
    run(
        lambda: run_state_machine_as_test(
            SpoolMachine,
            settings=hypothesis_settings(
                deadline=None,
                max_examples=100,
                stateful_step_count=30,
                derandomize="CI" in os.environ,
                suppress_health_check=list(HealthCheck),
            ),
        )
    )


@pytest.mark.parametrize("block", [1000, 4096, 65536, 1 << 20])
@pytest.mark.parametrize(
    "size",
    [bound + d for bound in (MEMORY, MEMORY + BATCH, 65536, 4 * 65536) for d in (-1, 0, 1)],
)
def test_integrity(run: Run, settings: UploadSettings, size: int, block: int) -> None:
    """Byte for byte around each threshold: memory, batch, block and window."""
    data = content(size)

    def test() -> None:
        with Spool(settings) as spool:
            for start in range(0, size, block):
                assert spool.write(data[start : start + block]) == len(data[start : start + block])
            assert spool.tell() == size
            assert (spool.name is not None) == (size > MEMORY)
            spool.seek(0)
            assert spool.read() == data
            spool.seek(size // 2)
            assert b"".join(iter(lambda: spool.read(7777), b"")) == data[size // 2 :]

    run(test)


def test_many_small_blocks(run: Run, settings: UploadSettings) -> None:
    """More blocks than one writev takes."""

    def test() -> None:
        with Spool(UploadSettings(spool_directory=settings.spool_directory)) as spool:
            spool.rollover()
            for _ in range(5000):
                spool.write(b"ab")
            spool.seek(0)
            assert spool.read() == b"ab" * 5000

    run(test)


def test_blocks_are_kept_by_reference(settings: UploadSettings) -> None:
    """A bytes object is not copied; what can still be changed is."""
    with Spool(settings) as spool:
        spool.rollover()
        block, changing = b"12345", bytearray(b"abc")
        spool.write(block)
        spool.write(changing)
        assert spool._batch[0] is block
        changing[:] = b"xyz"
        spool.seek(0)
        assert spool.read() == b"12345abc"


def test_the_insides_of_a_spooledtemporaryfile(settings: UploadSettings) -> None:
    """Programs use them: ._file for what it lacked before Python 3.11, the others to see where
    the content is."""
    with tempfile.SpooledTemporaryFile(max_size=10) as model, Spool(settings) as spool:
        files: list[Any] = [model, spool]
        for file in files:
            file.write(b"one\ntwo\n")
            file.seek(0)
            assert not file._rolled
            assert file._file.readable()
            assert file._file.seekable()
            assert file._file.getvalue() == b"one\ntwo\n"
            assert bytes(file._file.getbuffer()) == b"one\ntwo\n"
            text = io.TextIOWrapper(file._file)
            assert text.read() == "one\ntwo\n"
            text.detach()
            file.rollover()
            assert file._rolled
            assert not hasattr(file._file, "getvalue")
            assert not hasattr(file._file, "getbuffer")
            file._file.seek(4)
            assert file._file.read() == b"two\n"
    assert isinstance(model._max_size, int)  # type: ignore[attr-defined]
    assert spool._max_size == settings.spool_memory_bytes


@pytest.mark.parametrize("data", ["text", 5, None, [1, 2]])
def test_what_is_not_bytes_is_refused(settings: UploadSettings, data: object) -> None:
    """As by any binary file: write(5) is no way to write five zeros."""
    with Spool(settings) as spool:
        with pytest.raises(TypeError):
            spool.write(data)
        assert spool.seek(0, 2) == 0


def test_an_empty_write_behind_the_end(settings: UploadSettings) -> None:
    """Writes nothing, and does not move the end."""
    with Spool(settings) as spool:
        spool.seek(10)
        assert spool.write(b"") == 0
        assert spool.tell() == 10
        assert spool.seek(0, os.SEEK_END) == 0


def test_wrong_seeks(run: Run, settings: UploadSettings) -> None:
    """To before the beginning, from nowhere: an error, and the position stays."""

    def test() -> None:
        with Spool(settings) as spool:
            spool.write(b"12345")
            for offset, whence in ((-1, 0), (-6, 1), (-6, 2), (0, 3)):
                with pytest.raises(ValueError, match=r"seek position|whence"):
                    spool.seek(offset, whence)
            with pytest.raises(ValueError, match="truncate"):
                spool.truncate(-1)
            assert spool.tell() == 5

    run(test)


def test_closed(run: Run, settings: UploadSettings) -> None:
    """Every call on a closed spool says so, and close() may be called again."""

    def test() -> None:
        spool = Spool(settings)
        spool.write(bytes(MEMORY + 1))
        spool.close()
        spool.close()
        assert spool.closed
        calls: list[Callable[[], Any]] = [
            spool.read,
            lambda: spool.read(1),
            spool.readline,
            lambda: next(spool),
            spool.tell,
            lambda: spool.seek(0),
            lambda: spool.write(b"x"),
            lambda: spool.truncate(0),
            spool.fileno,
            spool.flush,
            spool.rollover,
            spool.readable,
            lambda: spool.save_to("x"),
        ]
        for call in calls:
            with pytest.raises(ValueError, match="closed"):
                call()

    run(test)


# Consumers.


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


# Errors of the disk.


def fill(spool: Spool, size: int) -> None:
    block = bytes(10_000)
    for _ in range(size // len(block)):
        spool.write(block)
    spool.seek(0)


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


# Turns and waiting.


def test_a_slow_disk_stops_this_upload_alone(settings: UploadSettings) -> None:
    """One batch in flight, one collected: then the writer waits, and the loop goes on."""
    with hub_scheduler(FOREVER) as scheduler, hub_writer():
        spool = Spool(settings)
        in_greenlet(spool.rollover)
    with hub_scheduler(FOREVER) as scheduler, busy_disk(settings) as released:
        wrote = []

        def upload() -> None:
            for number in range(6):
                spool.write(bytes(BATCH))
                wrote.append(number)
            spool.seek(0)  # waits for the last batch, and takes a turn again
            assert scheduler.has_turn
            assert len(spool.read()) == 6 * BATCH
            assert scheduler.has_turn

        uploader = gevent.spawn(upload)
        with spinning() as rounds:
            wait_until(lambda: rounds.value > 500)
        assert not uploader.ready()
        assert len(wrote) <= 2
        in_greenlet(scheduler.checkpoint)  # its turn is free for others
        released.set()
        join(uploader)
        spool.close()


def test_making_the_file_is_a_wait(settings: UploadSettings) -> None:
    """Whoever waited for the disk to make it takes a turn again before it goes on."""
    with hub_scheduler(FOREVER) as scheduler, hub_writer(), Spool(settings) as spool:

        def roll_over() -> bool:
            scheduler.checkpoint()
            spool.rollover()
            return scheduler.has_turn

        assert in_greenlet(roll_over)


def test_others_run_while_it_is_read(settings: UploadSettings) -> None:
    """A turn for each window of a large read from disk."""
    with hub_scheduler() as scheduler, hub_writer(), Spool(settings) as spool:
        data = content(20 * spool_module._WINDOW_BYTES)
        in_greenlet(lambda: (spool.write(data), spool.seek(0)))
        before = scheduler.statistics().turns
        assert in_greenlet(spool.read) == data
        assert scheduler.statistics().turns - before >= 20


def test_a_killed_writer_loses_nothing_that_it_wrote(settings: UploadSettings) -> None:
    """A greenlet that is killed in write() leaves a spool that others can go on with."""
    with hub_scheduler(), hub_writer():
        spool = Spool(settings)
        in_greenlet(spool.rollover)
    with hub_scheduler(), busy_disk(settings) as released:

        def upload() -> None:
            for _ in range(10):
                spool.write(bytes(BATCH))

        uploader = gevent.spawn(upload)
        wait_until(lambda: spool._in_flight is not None and spool._batch)
        size = spool.tell()
        uploader.kill()
        released.set()
        assert in_greenlet(lambda: (spool.seek(0), len(spool.read()))[1]) == size
        spool.close()


# The request's spools.


def test_spools_end_with_their_request(settings: UploadSettings, directory: Path) -> None:
    """All that its greenlet made; those of a greenlet that it spawned, which may go on, do not."""
    spools: list[Spool] = []

    def make() -> None:
        spool = Spool(settings)
        spool.write(bytes(MEMORY + 1))
        spools.append(spool)

    def request() -> None:
        with spools_closed_at_the_end():
            make()
            make()
            gevent.spawn(make).join()
            assert [spool.closed for spool in spools] == [False] * 3
            assert open_files(directory) == 3
        assert [spool.closed for spool in spools] == [True, True, False]

    with hub_scheduler(), hub_writer():
        in_greenlet(request)
        wait_until(lambda: open_files(directory) == 1)
        spools[2].close()


@pytest.mark.parametrize("error", [ValueError, gevent.GreenletExit, OSError])
def test_spools_end_with_a_failed_request(
    run: Run, settings: UploadSettings, directory: Path, error: type[BaseException]
) -> None:
    """At once, and not when the garbage collector finds the cycle through the traceback."""
    kept = []

    def request() -> None:
        with spools_closed_at_the_end():
            spool = Spool(settings)
            spool.write(bytes(MEMORY + 1))
            kept.append(spool)
            raise error("failed")

    with pytest.raises(error):
        run(request)
    assert kept[0].closed
    wait_until(lambda: open_files(directory) == 0)


def test_spools_end_with_a_killed_request(settings: UploadSettings, directory: Path) -> None:
    """Killed while it waits for the disk: its spool is closed as soon as the disk lets go."""
    with hub_scheduler(), hub_writer():
        spool = Spool(settings)
        in_greenlet(spool.rollover)

    def request() -> None:
        with spools_closed_at_the_end():
            of_request = spools_of_request.get()
            assert of_request is not None
            assert of_request.open == set()
            of_request.open.add(spool)  # made before the disk was busy
            while True:
                spool.write(bytes(BATCH))

    with hub_scheduler(), busy_disk(settings) as released:
        uploader = gevent.spawn(request)
        wait_until(lambda: spool._in_flight is not None and spool._batch)
        uploader.kill()
        assert spool.closed
        assert open_files(directory) == 1  # the write is still queued
        released.set()
        wait_until(lambda: open_files(directory) == 0)


def test_other_requests_keep_theirs(settings: UploadSettings) -> None:
    """Each request ends its own, wherever their greenlets take turns."""
    ends = {"a": threading.Event(), "b": threading.Event()}
    spools = {}

    def request(name: str) -> None:
        with spools_closed_at_the_end():
            spools[name] = Spool(settings)
            while not ends[name].is_set():
                gevent.sleep(0)

    with running(lambda: request("a"), lambda: request("b")):
        wait_until(lambda: len(spools) == 2)
        ends["a"].set()
        wait_until(lambda: spools["a"].closed)
        assert not spools["b"].closed
        ends["b"].set()
        wait_until(lambda: spools["b"].closed)


def test_a_spool_of_no_request_is_its_makers(settings: UploadSettings) -> None:
    """Outside of a request nothing closes it."""
    with spools_closed_at_the_end():
        pass
    spool = Spool(settings)
    with spools_closed_at_the_end():
        pass
    assert not spool.closed
    spool.close()


def test_a_closed_spool_is_not_kept(settings: UploadSettings) -> None:
    """A request with many parts does not collect those that are done with."""
    with spools_closed_at_the_end() as spools:
        for _ in range(3):
            Spool(settings).close()
        assert spools.open == set()
