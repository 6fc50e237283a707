"""DiskFile: every order of write, kill and close, on a disk that takes its time.

The tests of a slow disk hold the writing thread up with busy_disk(): what is handed over stays
queued until it is released, and nothing depends on how fast anything is.
"""

from __future__ import annotations

import errno
import functools
import gc
import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from disk import busy_disk, descriptors, open_files
from greenlets import (
    DEADLINE,
    Count,
    hub_scheduler,
    hub_writer,
    in_greenlet,
    join,
    spinning,
    wait_until,
)

from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool import disk_file as disk_file_module
from cooperative_upload.spool import file_content
from cooperative_upload.spool.disk_file import DiskFile
from cooperative_upload.spool.saving import moved
from cooperative_upload.spool.temporary_file import Spool
from cooperative_upload.spool.unnamed_file import create_unnamed
from cooperative_upload.turns.last_use import ClosedByLastUse
from cooperative_upload.turns.writer import current_writer

BATCH = 4096


@pytest.fixture
def settings(directory: Path) -> UploadSettings:
    return UploadSettings(
        spool_memory_bytes=0, spool_batch_bytes=BATCH, spool_directory=str(directory)
    )


@pytest.fixture
def file(settings: UploadSettings) -> DiskFile:
    """An empty file, made before the disk is held up. The test closes it."""
    with hub_writer():
        return in_greenlet(lambda: DiskFile(settings))


def is_open(descriptor: int) -> bool:
    return descriptor in descriptors()


def close_at_once(file: DiskFile) -> None:
    """The way without care: what is queued does not count."""
    os.close(file.descriptor)


def close_and_reuse(
    file: DiskFile, settings: UploadSettings, victim: Path, close: Callable[[DiskFile], None]
) -> bytes:
    """A greenlet is killed while its write is queued, its file is closed, and the next file that
    is opened gets the lowest free number. What is in that file when the write is done?"""
    with busy_disk(settings) as released:

        def upload() -> None:
            file.start_write([b"someone's upload"], 0).result()

        uploader = gevent.spawn(upload)
        gevent.sleep(0)
        uploader.kill()
        in_greenlet(lambda: close(file))
        gevent.sleep(0)
        other = os.open(victim, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if close is close_at_once:
                assert other == file.descriptor, "the system gave another number"
            else:
                assert other != file.descriptor
            released.set()
            drained = in_greenlet(lambda: current_writer(settings).start(int))
            in_greenlet(drained.result)
            return os.pread(other, 100, 0)
        finally:
            os.close(other)


def test_a_late_write_finds_no_other_file(
    file: DiskFile, settings: UploadSettings, tmp_path: Path
) -> None:
    """The number of the descriptor is not free before the last write has ended."""
    with hub_scheduler():
        assert close_and_reuse(file, settings, tmp_path / "victim", DiskFile.close) == b""
    wait_until(lambda: not is_open(file.descriptor))


def test_without_the_care_it_would(
    file: DiskFile, settings: UploadSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: a close that does not count the uses lets one upload write into
    another's file."""
    monkeypatch.setattr(ClosedByLastUse, "end_use", lambda self: None)
    with hub_scheduler():
        found = close_and_reuse(file, settings, tmp_path / "victim", close_at_once)
    assert found == b"someone's upload"


@pytest.mark.parametrize("order", ["write kill close", "write close kill", "kill write close"])
def test_every_order_of_kill_and_close(
    file: DiskFile, settings: UploadSettings, directory: Path, order: str
) -> None:
    """Whoever ends last closes the descriptor, once."""
    descriptor = file.descriptor
    closes: list[int] = []
    with hub_scheduler(), busy_disk(settings) as released:
        uploader: Any = gevent.spawn(lambda: file.start_write([b"x" * 100], 0).result())
        steps: dict[str, Callable[[], Any]] = {
            "write": lambda: gevent.sleep(0),
            "kill": lambda: uploader.kill(),
            "close": lambda: in_greenlet(file.close),
        }
        real_close = os.close

        def close(number: int) -> None:
            closes.append(number)
            real_close(number)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "close", close)
            for step in order.split():
                steps[step]()
            if order.startswith("write"):
                assert is_open(descriptor), "closed before its last write"
            released.set()
            wait_until(lambda: open_files(directory) == 0)
    assert closes == [descriptor]


def test_killed_while_the_file_is_made(settings: UploadSettings, directory: Path) -> None:
    """The thread makes the file later, for nobody, and closes it."""
    with hub_scheduler(), busy_disk(settings) as released:
        made = Count()
        create = create_unnamed

        def counted(path: str) -> tuple[int, bool]:
            made.value += 1
            return create(path)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(disk_file_module, "create_unnamed", counted)
            maker = gevent.spawn(DiskFile, settings)
            gevent.sleep(0)
            maker.kill()
            released.set()
            wait_until(lambda: made.value == 1)
            wait_until(lambda: open_files(directory) == 0)


def test_killed_before_the_thread_is_free(settings: UploadSettings, file: DiskFile) -> None:
    """A write that could not even be queued is never made, and holds no use of the descriptor."""
    with hub_scheduler(), busy_disk(settings) as released:
        in_greenlet(lambda: file.start_write([b"queued"], 0))
        waits = gevent.spawn(file.start_write, [b"KILLED"], 0)
        gevent.sleep(0.01)
        assert not waits.ready()
        waits.kill()
        released.set()
        assert in_greenlet(lambda: (file.start_write([b""], 0).result(), file.read(10, 0))[1]) == (
            b"queued"
        )
        in_greenlet(file.close)
        wait_until(lambda: not is_open(file.descriptor))


@pytest.mark.parametrize("step", range(5))
@pytest.mark.parametrize("way", ["write_to", "save_to"])
def test_killed_while_it_is_saved(
    settings: UploadSettings,
    directory: Path,
    tmp_path: Path,
    way: str,
    step: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither of the two files stays open, in whichever step the greenlet is killed."""
    monkeypatch.setattr(file_content, "STEP_BYTES", 10)
    path = tmp_path / "saved"
    reached, go_on = threading.Event(), threading.Event()
    begun = itertools.count()
    real = os.copy_file_range

    def slow(*args: Any) -> int:
        if next(begun) == step:
            reached.set()
            go_on.wait(DEADLINE)
        return real(*args)

    monkeypatch.setattr(os, "copy_file_range", slow)
    fsync = {} if way == "write_to" else {"fsync": False}
    with hub_scheduler(), hub_writer():
        file = in_greenlet(lambda: DiskFile(settings))
        in_greenlet(lambda: file.start_write([bytes(50)], 0).result())
        saver = gevent.spawn(functools.partial(getattr(file, way), str(path), 0, 50, **fsync))
        wait_until(reached.is_set)
        saver.kill()
        in_greenlet(file.close)
        assert is_open(file.descriptor)  # the step that runs has it
        go_on.set()
        wait_until(lambda: open_files(directory) == 0 and open_files(tmp_path) == 0)
    sizes = [os.path.getsize(entry) for entry in tmp_path.iterdir() if entry.is_file()]
    begun_in_place = [10 * (step + 1)]
    whole = [50] if step == 4 else []  # in the last step it comes to its name
    assert sizes == (begun_in_place if way == "write_to" else whole)


def test_others_write_between_two_steps_of_a_save(
    settings: UploadSettings, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A save of gigabytes does not hold the one thread until it is done."""
    monkeypatch.setattr(file_content, "STEP_BYTES", 10)
    order: list[str] = []
    real = os.copy_file_range

    def copy(*args: Any) -> int:
        order.append("copied")
        return real(*args)

    monkeypatch.setattr(os, "copy_file_range", copy)
    with hub_scheduler(), hub_writer():
        saved, written = (in_greenlet(lambda: DiskFile(settings)) for _ in range(2))
        in_greenlet(lambda: saved.start_write([bytes(100)], 0).result())

        def write() -> None:
            for _ in range(5):
                written.start_write([b"x"], 0).result()
                order.append("written")

        join(
            gevent.spawn(saved.write_to, str(tmp_path / "saved"), 0, 100),
            gevent.spawn(write),
        )
        for file in (saved, written):
            in_greenlet(file.close)
        wait_until(lambda: open_files(directory) == 0)
    assert order.count("copied") == 10
    assert "written" in order[: order.index("copied", 5)]
    assert (tmp_path / "saved").read_bytes() == bytes(100)


def test_no_hub(settings: UploadSettings, directory: Path) -> None:
    """In a plain thread a file is made, written and closed at once, and no hub comes of it."""
    outcome: list[object] = []

    def plain() -> None:
        file = DiskFile(settings)
        file.start_write([b"con", b"tent"], 3).result()
        outcome.append(file.read(100, 0))
        outcome.append(open_files(directory))
        file.close()
        outcome.append(open_files(directory))
        outcome.append(gevent.hub._get_hub())  # type: ignore[attr-defined]

    thread = threading.Thread(target=plain)
    thread.start()
    thread.join()
    assert outcome == [b"\0\0\0content", 1, 0, None]


def test_made_in_one_hub_and_closed_in_another(settings: UploadSettings, directory: Path) -> None:
    """The last reference to a spool may go anywhere."""
    with hub_scheduler(), hub_writer():
        file = in_greenlet(lambda: DiskFile(settings))
    thread = threading.Thread(target=file.close)
    thread.start()
    thread.join()
    assert open_files(directory) == 0


def test_closed_twice(file: DiskFile, settings: UploadSettings, directory: Path) -> None:
    """From wherever: the last use is counted once, and nothing is done after it."""

    def close_twice() -> None:
        file.close()
        file.close()

    with hub_scheduler(), busy_disk(settings) as released:
        uploader: Any = gevent.spawn(lambda: file.start_write([b"x" * 100], 0).result())
        gevent.sleep(0)
        thread = threading.Thread(target=close_twice)  # without a hub, where nothing waits
        thread.start()
        thread.join()
        assert is_open(file.descriptor), "closed before its last write"
        released.set()
        join(uploader)
    wait_until(lambda: open_files(directory) == 0)
    path = str(directory / "saved")
    for use in (
        lambda: file.read(1, 0),
        lambda: file.truncate(0),
        lambda: file.write_to(path, 0, 1),
        lambda: file.hand_over(lambda own, fill: moved(own, path, fill, fsync=False), 0, 1),
    ):
        with pytest.raises(ValueError, match="closed file"):
            use()


def test_a_forgotten_spool_is_closed(settings: UploadSettings, directory: Path) -> None:
    """By the garbage collector, in the middle of whatever runs."""
    with hub_scheduler(), hub_writer():

        def forget() -> None:
            cycle: list[Any] = [Spool(settings)]
            cycle.append(cycle)
            cycle[0].write(b"x")

        in_greenlet(forget)
        assert open_files(directory) == 1
        gc.collect()
        wait_until(lambda: open_files(directory) == 0)


def test_nothing_leaks(settings: UploadSettings, directory: Path) -> None:
    """A hundred uploads, of which half are killed: no descriptor and no thread more."""
    with hub_scheduler(), hub_writer():
        in_greenlet(lambda: DiskFile(settings).close())  # the thread is there now
        wait_until(lambda: open_files(directory) == 0)
        before, threads = sorted(descriptors()), threading.active_count()

        def upload() -> None:
            with Spool(settings) as spool:
                for _ in range(10):
                    spool.write(bytes(BATCH // 2))
                spool.seek(0)
                spool.read()

        uploads = [gevent.spawn(upload) for _ in range(100)]
        for number, greenlet in enumerate(uploads):
            if number % 2:
                gevent.sleep(0)
                greenlet.kill()
        join(*uploads)
        wait_until(lambda: sorted(descriptors()) == before)
        assert threading.active_count() == threads


def test_closing_does_not_stop_the_loop(
    file: DiskFile, settings: UploadSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To free the pages of a large unlinked file takes long. However long the close takes, the
    loop goes on."""
    real_close = os.close
    began, release = threading.Event(), threading.Event()
    closers = []

    def slow_close(descriptor: int) -> None:
        began.set()
        released = release.wait(DEADLINE / 4)
        closers.append((threading.get_ident(), released))
        real_close(descriptor)

    monkeypatch.setattr(os, "close", slow_close)
    with hub_scheduler(), hub_writer(), spinning() as rounds:
        in_greenlet(file.close)
        wait_until(began.is_set)
        before = rounds.value
        wait_until(lambda: rounds.value > before + 500)
        assert is_open(file.descriptor)
        release.set()
        wait_until(lambda: not is_open(file.descriptor))
    assert closers != [(threading.get_ident(), True)]
    assert [released for _, released in closers] == [True]


def test_truncate(file: DiskFile) -> None:
    """Shorter, and longer with zeros."""
    with hub_scheduler(), hub_writer():

        def test() -> None:
            file.start_write([b"123456"], 0).result()
            file.truncate(3)
            assert file.read(10, 0) == b"123"
            file.truncate(5)
            assert file.read(10, 0) == b"123\0\0"
            file.close()

        in_greenlet(test)


@pytest.mark.parametrize("way", ["no flag", errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL])
def test_reading_what_is_not_in_memory(
    file: DiskFile, monkeypatch: pytest.MonkeyPatch, way: str | int
) -> None:
    """A thread reads what can't be had without waiting, and where the system can't tell."""

    def preadv(*_: Any) -> int:
        assert isinstance(way, int)
        raise OSError(way, os.strerror(way))

    if way == "no flag":
        monkeypatch.setattr(disk_file_module, "_NO_WAIT", None)
    else:
        monkeypatch.setattr(disk_file_module, "_NO_WAIT", 8)
        monkeypatch.setattr(os, "preadv", preadv)
    pread, readers = os.pread, []

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        readers.append(threading.get_ident())
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", counted)
    with hub_scheduler(), hub_writer():
        in_greenlet(lambda: file.start_write([b"content"], 0).result())
        assert in_greenlet(lambda: file.read(3, 3)) == b"ten"
        assert in_greenlet(lambda: file.read(3, 7)) == b""
        in_greenlet(file.close)
    assert len(readers) == 2
    assert threading.get_ident() not in readers


def test_another_error_of_a_read_is_raised(
    file: DiskFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken disk is not asked a second time."""

    def preadv(*_: Any) -> int:
        raise OSError(errno.EIO, "broken")

    with hub_scheduler(), hub_writer():
        monkeypatch.setattr(disk_file_module, "_NO_WAIT", 8)
        monkeypatch.setattr(os, "preadv", preadv)
        with pytest.raises(OSError, match="broken"):
            in_greenlet(lambda: file.read(3, 0))
        in_greenlet(file.close)


@pytest.mark.parametrize("linkable", [True, False])
@pytest.mark.parametrize("start", [0, 1, BATCH])
def test_what_is_moved_begins_where_it_is_to(
    settings: UploadSettings,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: int,
    linkable: bool,
) -> None:
    """The file itself gets the name where all of it is wanted, and else a copy of the rest."""
    if not linkable:
        monkeypatch.delattr(os, "O_TMPFILE")
    content = os.urandom(2 * BATCH)

    def move() -> bool:
        file = DiskFile(settings)
        file.start_write([content], 0).result()
        target = str(directory / "moved")
        file.hand_over(
            lambda own, fill: moved(own, target, fill, fsync=False), start, len(content)
        )
        is_the_same = os.fstat(file.descriptor).st_ino == (directory / "moved").stat().st_ino
        file.close()
        return is_the_same

    with hub_writer():
        assert in_greenlet(move) == (linkable and start == 0)
    assert (directory / "moved").read_bytes() == content[start:]
    (directory / "moved").unlink()
