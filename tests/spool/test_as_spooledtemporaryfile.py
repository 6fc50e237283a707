"""Spool: a SpooledTemporaryFile that never blocks the loop."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
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
from spools import BATCH, MEMORY, Run, content

from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool import batches
from cooperative_upload.spool import temporary_file as spool_module
from cooperative_upload.spool.temporary_file import Spool


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
    monkeypatch.setattr(batches, "_MOST_BLOCKS", 3)
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
        assert spool._batches._blocks[0] is block
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
