"""Files that appear whole or not at all, with the names and modes that open() would give.

The model is `open(path, "wb")`: each case is set up twice, written once by it and once by the
function under test, and the two results are compared.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from disk import open_files
from greenlets import hub_scheduler, hub_writer, in_greenlet
from unprivileged import give_to_nobody, open_directory, run_unprivileged

from cooperative_upload import unnamed_file
from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool import Spool
from cooperative_upload.unnamed_file import (
    append,
    append_copy,
    create_unnamed,
    give_name,
    whole_or_not_at_all,
    write_all,
)

CONTENT = b"the new content" * 100

Save = Callable[[Any], None]


# The ways in which a file may come to its name.


def by_link(path: Any) -> None:
    """The first save of a spool on disk."""
    with spool_on_disk() as spool:
        spool.save_to(path)


def by_copy(path: Any) -> None:
    """Every other save of it."""
    with spool_on_disk(save_links=False) as spool:
        spool.save_to(path)


def from_memory(path: Any) -> None:
    """A spool that never came to disk."""
    with Spool() as spool:
        spool.write(CONTENT)
        spool.seek(0)
        spool.save_to(path)


def by_descriptor(path: Any) -> None:
    """The context manager below them."""
    with whole_or_not_at_all(os.fsdecode(path), fsync=False) as descriptor:
        append(descriptor, CONTENT)


def by_open(path: Any) -> None:
    """The model."""
    with open(path, "wb") as file:
        file.write(CONTENT)


def spool_on_disk(**settings: Any) -> Spool:
    spool = Spool(UploadSettings(spool_memory_bytes=0, **settings))
    spool.write(CONTENT)
    spool.seek(0)
    return spool


@pytest.fixture(params=[by_link, by_copy, from_memory, by_descriptor])
def way(request: pytest.FixtureRequest) -> Save:
    save: Save = request.param
    return save


@pytest.fixture(
    params=["O_TMPFILE", "without O_TMPFILE", "without /proc", "refused by the file system"]
)
def save(request: pytest.FixtureRequest, way: Save, monkeypatch: pytest.MonkeyPatch) -> Save:
    """Each way, where the file system has unnamed files and where it has none."""
    if request.param == "without O_TMPFILE":
        monkeypatch.delattr(os, "O_TMPFILE")
    elif request.param == "without /proc":
        monkeypatch.setattr(unnamed_file, "_DESCRIPTORS", "/proc/self/not/there")
    elif request.param == "refused by the file system":
        real_open = os.open

        def refuse(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "not supported")
            return real_open(path, flags, *rest, **more)

        monkeypatch.setattr(os, "open", refuse)
    return way


@pytest.fixture(autouse=True)
def spools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Spools are on the file system of tmp_path, and nothing is left over of them."""
    path = tmp_path / "spools"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    before = open_files(tmp_path)
    yield path
    assert os.listdir(path) == []
    assert open_files(tmp_path) == before


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "destination"
    path.mkdir()
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def compare(save: Save, directory: Path, prepare: Callable[[Path], Path]) -> None:
    """`prepare` sets a directory up and names the path; both ways end in the same directory, or
    in the same error."""
    results = []
    for name, way in (("model", by_open), ("ours", save)):
        place = directory / name
        place.mkdir()
        path = prepare(place)
        error: OSError | None = None
        try:
            way(path)
        except OSError as raised:
            error = raised
        results.append((description(place), error and error.errno))
        place.chmod(0o755)
    assert results[0] == results[1]


def description(place: Path) -> list[tuple[str, str, int, bytes | None]]:
    """Each entry of a directory: name, kind or target, mode, content."""
    found = []
    for path in sorted(place.rglob("*")):
        kind = os.readlink(path) if path.is_symlink() else str(stat.S_IFMT(path.lstat().st_mode))
        content = path.read_bytes() if path.is_file() else None
        found.append(
            (str(path.relative_to(place)), kind, stat.S_IMODE(path.lstat().st_mode), content)
        )
    return found


# Names and modes.


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o027, 0o077])
def test_a_new_file(save: Save, directory: Path, umask: int) -> None:
    """Its mode is what the umask leaves."""
    before = os.umask(umask)
    try:
        save(directory / "new")
    finally:
        os.umask(before)
    assert mode(directory / "new") == 0o666 & ~umask
    assert (directory / "new").read_bytes() == CONTENT
    assert os.listdir(directory) == ["new"]


@pytest.mark.parametrize("existing", [0o644, 0o600, 0o640, 0o777, 0o400, 0o4755])
def test_an_existing_file(save: Save, directory: Path, existing: int) -> None:
    """It has the new content and keeps its mode."""
    path = directory / "old"
    path.write_bytes(b"old" * 10_000)
    path.chmod(existing)
    save(path)
    assert mode(path) == existing
    assert path.read_bytes() == CONTENT
    assert os.listdir(directory) == ["old"]


def existing_file(place: Path) -> Path:
    (place / "file").write_bytes(b"old")
    (place / "file").chmod(0o640)
    return place / "file"


def symlink(place: Path) -> Path:
    (place / "link").symlink_to(existing_file(place))
    return place / "link"


def relative_symlink(place: Path) -> Path:
    (place / "below").mkdir()
    existing_file(place / "below")
    (place / "link").symlink_to("below/file")
    return place / "link"


def dangling_symlink(place: Path) -> Path:
    (place / "link").symlink_to("nothing yet")
    return place / "link"


def symlink_of_symlink(place: Path) -> Path:
    (place / "second").symlink_to(symlink(place))
    return place / "second"


def symlinked_directory(place: Path) -> Path:
    (place / "real").mkdir()
    (place / "link").symlink_to("real")
    return place / "link" / "new"


def symlink_into_nowhere(place: Path) -> Path:
    (place / "link").symlink_to("missing/new")
    return place / "link"


def a_directory(place: Path) -> Path:
    (place / "dir").mkdir()
    return place / "dir"


def missing_directory(place: Path) -> Path:
    return place / "missing" / "new"


def below_a_file(place: Path) -> Path:
    return existing_file(place) / "new"


def name_too_long(place: Path) -> Path:
    return place / ("x" * 300)


CASES = [
    existing_file,
    symlink,
    relative_symlink,
    dangling_symlink,
    symlink_of_symlink,
    symlinked_directory,
    symlink_into_nowhere,
    a_directory,
    missing_directory,
    below_a_file,
    name_too_long,
]


@pytest.mark.parametrize("prepare", CASES)
def test_as_open(
    save: Save, directory: Path, prepare: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same entries with the same modes and contents, or the same error."""

    def relative(place: Path) -> Path:
        # Relative paths, so that symbolic links in both directories read the same.
        monkeypatch.chdir(place)
        return prepare(Path("."))

    compare(save, directory, relative)


def test_a_path_with_a_slash_at_its_end(save: Save, directory: Path) -> None:
    """Names a directory, as open() says, and no file."""
    with pytest.raises(IsADirectoryError):
        by_open(f"{directory}/new/")
    with pytest.raises(IsADirectoryError):
        save(f"{directory}/new/")
    assert os.listdir(directory) == []


@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
def test_kinds_of_paths(
    way: Save, directory: Path, kind: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text, bytes and PathLike; relative to the current directory; with any characters."""
    monkeypatch.chdir(directory)
    way(kind("näme \udcff\n"))
    assert os.listdir(os.fsencode(directory)) == [os.fsencode("näme \udcff\n")]
    assert (directory / "näme \udcff\n").read_bytes() == CONTENT


def test_the_group_of_a_shared_directory(save: Save, directory: Path) -> None:
    """In a directory with the set-group-ID bit a new file belongs to the directory's group, as
    the kernel gives it."""
    group = 12345 if os.getuid() == 0 else next(iter({*os.getgroups()} - {os.getgid()}), None)
    if group is None:
        pytest.skip("this user is in one group alone")
    os.chown(directory, -1, group)
    directory.chmod(0o2775)
    by_open(directory / "model")
    save(directory / "ours")
    assert (directory / "model").stat().st_gid == group
    assert (directory / "ours").stat().st_gid == group
    assert mode(directory / "ours") == mode(directory / "model")


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_the_owner_of_an_existing_file(save: Save, directory: Path) -> None:
    """Is kept by who may do so."""
    path = existing_file(directory)
    os.chown(path, 12345, 23456)
    save(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)
    assert path.read_bytes() == CONTENT


# What is no regular file.


def test_dev_null(save: Save) -> None:
    """Is written to, and not replaced."""
    before = os.stat("/dev/null")
    save("/dev/null")
    after = os.stat("/dev/null")
    assert stat.S_ISCHR(after.st_mode)
    assert after.st_ino == before.st_ino


def test_a_pipe(way: Save, directory: Path) -> None:
    """Whoever reads it gets the content."""
    path = directory / "pipe"
    os.mkfifo(path)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()))
    reader.start()
    way(path)
    reader.join(20)
    assert received == [CONTENT]
    assert stat.S_ISFIFO(path.stat().st_mode)


# Rights.

SAVE = """
def save(path, **settings):
    with Spool(UploadSettings(spool_memory_bytes=0, **settings)) as spool:
        spool.write(b"new content")
        spool.seek(0)
        spool.save_to(path)

def errno_of(function, *arguments, **settings):
    try:
        function(*arguments, **settings)
    except OSError as error:
        return error.errno
    return None
"""


@pytest.mark.parametrize("links", [True, False])
def test_a_read_only_file_is_refused(links: bool) -> None:
    """Although its directory would allow to replace it: open() refuses too."""
    with open_directory() as place:
        path = place / "file"
        path.write_bytes(b"old")
        path.chmod(0o444)
        give_to_nobody(path)
        run_unprivileged(f"""{SAVE}
assert errno_of(save, {str(path)!r}, save_links={links}) == errno_of(open, {str(path)!r}, "wb")
assert open({str(path)!r}).read() == "old"
assert os.listdir({str(place)!r}) == ["file"]
""")


@pytest.mark.parametrize("links", [True, False])
def test_a_writable_file_in_a_closed_directory(links: bool) -> None:
    """Can't be replaced, so it is written to, as open() does."""
    with open_directory() as place:
        path = place / "file"
        path.write_bytes(b"old, and longer than the new")
        path.chmod(0o600)
        give_to_nobody(path)
        inode = path.stat().st_ino
        place.chmod(0o555)
        run_unprivileged(f"""{SAVE}
save({str(path)!r}, save_links={links})
assert open({str(path)!r}).read() == "new content"
assert errno_of(save, {str(place / "new")!r}, save_links={links}) == 13
""")
        assert path.stat().st_ino == inode


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make files of two users")
def test_a_writable_file_of_another() -> None:
    """Is replaced by one of the same mode: it can't be given away again."""
    with open_directory() as place:
        path = place / "file"
        path.write_bytes(b"old")
        path.chmod(0o666)
        run_unprivileged(f"""{SAVE}
save({str(path)!r})
assert open({str(path)!r}).read() == "new content"
assert stat.S_IMODE(os.stat({str(path)!r}).st_mode) == 0o666
""")


def test_a_directory_that_can_not_be_listed() -> None:
    """A drop box: files may be made there and not seen."""
    with open_directory() as place:
        place.chmod(0o300)
        run_unprivileged(f"""{SAVE}
with Spool(UploadSettings(spool_memory_bytes=0)) as spool:
    spool.write(b"new content")
    spool.seek(0)
    spool.save_to({str(place / "new")!r})
assert open({str(place / "new")!r}).read() == "new content"
""")
        place.chmod(0o700)
        assert os.listdir(place) == ["new"]


# Another file system.


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A directory on another file system than that of the spools."""
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == Path("/tmp").stat().st_dev:
        pytest.skip("no second file system at /dev/shm")
    path = Path(tempfile.mkdtemp(dir=shm))
    yield path
    shutil.rmtree(path)


def test_onto_another_file_system(save: Save, elsewhere: Path) -> None:
    """Copied, with the same result."""
    compare(save, elsewhere, existing_file)
    save(elsewhere / "new")
    assert (elsewhere / "new").read_bytes() == CONTENT
    assert sorted(os.listdir(elsewhere)) == ["model", "new", "ours"]


def test_through_a_symlink_onto_another_file_system(
    save: Save, elsewhere: Path, directory: Path
) -> None:
    """What counts is where the link leads."""
    (directory / "link").symlink_to(elsewhere / "new")
    save(directory / "link")
    assert (directory / "link").is_symlink()
    assert (elsewhere / "new").read_bytes() == CONTENT


# Whole or not at all.


@pytest.mark.parametrize("existing", [b"old", None])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
@pytest.mark.parametrize("has_unnamed", [True, False])
def test_a_failure_leaves_all_as_it_was(
    directory: Path,
    existing: bytes | None,
    error: BaseException,
    has_unnamed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The old content, no temporary files, no open descriptors."""
    if not has_unnamed:
        monkeypatch.delattr(os, "O_TMPFILE")
    path = directory / "file"
    if existing is not None:
        path.write_bytes(existing)

    def fail() -> None:
        with whole_or_not_at_all(str(path), fsync=False) as descriptor:
            append(descriptor, b"the beginning")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert (path.read_bytes() if path.exists() else None) == existing
    assert os.listdir(directory) == (["file"] if existing is not None else [])
    assert open_files(directory) == 0


@pytest.mark.parametrize("function", ["replace", "fsync", "fchmod"])
@pytest.mark.parametrize("has_unnamed", [True, False])
def test_a_failure_at_the_end(
    way: Save,
    directory: Path,
    function: str,
    has_unnamed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the last steps fail, the temporary name is taken away again."""
    if not has_unnamed:
        monkeypatch.delattr(os, "O_TMPFILE")
    path = existing_file(directory)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, function, fail)
    if function == "fsync":
        with spool_on_disk() as spool, pytest.raises(OSError, match="broken"):
            spool.save_to(path, fsync=True)
    else:
        with pytest.raises(OSError, match="broken"):
            way(path)
    assert os.listdir(directory) == ["file"]
    assert path.read_bytes() == b"old"
    assert open_files(directory) == 0


def test_nobody_sees_a_part(way: Save, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is written the destination has no name, or the old content."""
    path = existing_file(directory)
    seen: list[tuple[list[str], bytes]] = []
    real = unnamed_file.append

    def watched(descriptor: int, data: bytes) -> None:
        for start in range(0, len(data), 500):
            real(descriptor, data[start : start + 500])
            seen.append((os.listdir(directory), path.read_bytes()))

    for name in ("cooperative_upload.unnamed_file", "cooperative_upload.spool", __name__):
        monkeypatch.setattr(sys.modules[name], "append", watched)
    way(path)
    assert all(entry == (["file"], b"old") for entry in seen)
    assert seen or way is by_link
    assert path.read_bytes() == CONTENT


def test_concurrent_savers(directory: Path) -> None:
    """Whoever is last wins; at no time is there a mixture, or an error."""
    path = directory / "file"
    contents = [bytes([number]) * 300_000 for number in range(8)]
    errors: list[BaseException] = []
    seen: set[bytes] = set()
    stop = threading.Event()

    def save(content: bytes) -> None:
        try:
            for _ in range(10):
                with Spool(UploadSettings(spool_memory_bytes=0)) as spool:
                    spool.write(content)
                    spool.seek(0)
                    spool.save_to(path)
        except BaseException as error:
            errors.append(error)

    def watch() -> None:
        while not stop.is_set():
            if path.exists():
                seen.add(path.read_bytes())

    savers = [threading.Thread(target=save, args=(content,)) for content in contents]
    watcher = threading.Thread(target=watch)
    for thread in (watcher, *savers):
        thread.start()
    for thread in savers:
        thread.join()
    stop.set()
    watcher.join()
    assert errors == []
    assert seen | {path.read_bytes()} <= set(contents)
    assert os.listdir(directory) == ["file"]


# fsync.


@pytest.mark.parametrize("has_unnamed", [True, False])
@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("make", [by_link, by_copy, from_memory])
def test_fsync_before_and_after_the_name(
    directory: Path,
    make: Save,
    existing: bool,
    has_unnamed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """First the content, then the name, then the directory that holds the name."""
    if not has_unnamed:
        monkeypatch.delattr(os, "O_TMPFILE")
    path = existing_file(directory) if existing else directory / "file"
    events: list[tuple[str, bool]] = []  # what was synced, and whether the new file was in place
    real = os.fsync

    def recorded(descriptor: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        if kind == "file":
            assert os.fstat(descriptor).st_size == len(CONTENT)
        else:
            assert os.path.samestat(os.fstat(descriptor), directory.stat())
        events.append((kind, path.exists() and path.read_bytes() == CONTENT))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    memory = 1 << 20 if make is from_memory else 0
    with Spool(UploadSettings(spool_memory_bytes=memory, save_links=make is by_link)) as spool:
        spool.write(CONTENT)
        spool.seek(0)
        spool.save_to(path, fsync=True)
    assert events == [("file", False), ("directory", True)]


def test_fsync_of_a_file_that_is_written_in_place() -> None:
    """Where a file can't be replaced, its content is synced all the same."""
    with open_directory() as place:
        path = place / "file"
        path.write_bytes(b"old")
        give_to_nobody(path)
        place.chmod(0o555)
        run_unprivileged(f"""
synced = []
os.fsync = lambda descriptor: synced.append(os.fstat(descriptor).st_ino)
with Spool() as spool:
    spool.write(b"new content")
    spool.seek(0)
    spool.save_to({str(path)!r}, fsync=True)
    spool.seek(0)
    spool.save_to("/dev/null", fsync=True)
assert synced == [os.stat({str(path)!r}).st_ino], synced
""")


def test_no_fsync_unless_asked_for(
    way: Save, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes long."""
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("synced"))
    way(directory / "file")


# Links.


def inode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_nlink


@pytest.mark.parametrize("existing", [True, False])
def test_the_first_save_links_and_the_second_copies(directory: Path, existing: bool) -> None:
    """Two destinations are never one file."""
    first = existing_file(directory) if existing else directory / "first"
    second = directory / "second"
    with spool_on_disk() as spool:
        spooled = os.fstat(spool.fileno()).st_ino
        spool.save_to(first)
        assert inode(first) == (spooled, 1)
        spool.seek(0)
        spool.save_to(second)
        assert inode(second)[0] != spooled
        assert inode(second)[1] == 1
        spool.seek(0)
        spool.save_to(first)  # also onto the first once more
        assert inode(first)[0] != spooled
        spool.seek(0)
        assert spool.read() == CONTENT
    assert first.read_bytes() == second.read_bytes() == CONTENT


def test_a_save_ends_at_the_end(way: Save, directory: Path) -> None:
    """As a copy of the stream leaves it."""
    for make in (Spool, spool_on_disk):
        with make() as spool:
            spool.seek(0)
            spool.write(CONTENT)
            spool.seek(0)
            spool.save_to(directory / make.__name__)
            assert spool.tell() == len(CONTENT)
            assert spool.read() == b""


@pytest.mark.parametrize("memory", [0, 1 << 20])
@pytest.mark.parametrize("start", [1, 700, len(CONTENT), len(CONTENT) + 5])
def test_a_save_begins_at_the_position(directory: Path, start: int, memory: int) -> None:
    """What was read before is not saved; the position is not moved back."""
    path = directory / "file"
    with Spool(UploadSettings(spool_memory_bytes=memory)) as spool:
        spool.write(CONTENT)
        spool.seek(start)
        spool.save_to(path)
        assert path.read_bytes() == CONTENT[start:]
        assert spool.tell() == max(start, len(CONTENT))
        spool.seek(0)
        spool.save_to(path)
        assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("change", ["write", "truncate", "extend"])
def test_changing_the_stream_does_not_change_the_saved_file(directory: Path, change: str) -> None:
    """The stream gets a file of its own first."""
    path = directory / "file"
    with spool_on_disk() as spool:
        spool.save_to(path)
        spool.seek(3)
        if change == "write":
            spool.write(b"XXX")
        else:
            spool.truncate(3 if change == "truncate" else 5000)
        spool.seek(0)
        changed = {
            "write": CONTENT[:3] + b"XXX" + CONTENT[6:],
            "truncate": CONTENT[:3],
            "extend": CONTENT + bytes(5000 - len(CONTENT)),
        }
        assert spool.read() == changed[change]
        assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("change", ["append", "truncate", "overwrite"])
def test_changing_the_saved_file_shows(directory: Path, change: str) -> None:
    """The stream raises ESTALE, and never gives bytes that the client did not send."""
    path = directory / "file"
    with spool_on_disk() as spool:
        spool.save_to(path)
        # A later time, whatever the resolution of the file system's clock.
        later = path.stat().st_mtime_ns + 10_000_000_000
        if change == "append":
            with path.open("ab") as file:
                file.write(b"more")
        elif change == "truncate":
            os.truncate(path, 10)
        else:
            with path.open("r+b") as file:
                file.write(b"XXX")
            os.utime(path, ns=(later, later))
        calls: list[Callable[[], Any]] = [
            lambda: spool.read(1),
            spool.readline,
            lambda: spool.save_to(directory / "other"),
            lambda: spool.write(b"x" * 1_000_000),
        ]
        for call in calls:
            spool.seek(0)
            with pytest.raises(OSError, match="save_links") as caught:
                call()
            assert caught.value.errno == errno.ESTALE
        assert os.listdir(directory) == ["file"]


@pytest.mark.parametrize("change", ["unlink", "rename", "replace"])
def test_changing_the_name_does_not_matter(directory: Path, change: str) -> None:
    """The content is still that of the upload."""
    path = directory / "file"
    with spool_on_disk() as spool:
        spool.save_to(path)
        if change == "unlink":
            path.unlink()
        elif change == "rename":
            path.rename(directory / "other")
        else:
            (directory / "other").write_bytes(b"something else")
            (directory / "other").replace(path)
        spool.seek(0)
        assert spool.read() == CONTENT


def test_without_links(directory: Path) -> None:
    """save_links off: always a copy, and the stream does not mind what happens to that."""
    path = directory / "file"
    with spool_on_disk(save_links=False) as spool:
        spool.save_to(path)
        assert inode(path)[0] != os.fstat(spool.fileno()).st_ino
        path.write_bytes(b"changed")
        spool.seek(0)
        assert spool.read() == CONTENT


def test_saving_in_a_greenlet(directory: Path) -> None:
    """The same through the writer's threads."""
    with hub_scheduler(), hub_writer():
        for number, way in enumerate([by_link, by_copy, from_memory]):
            path = directory / str(number)
            in_greenlet(lambda way=way, path=path: way(path))  # type: ignore[misc]
            assert path.read_bytes() == CONTENT


# The parts.


@pytest.mark.parametrize("has_unnamed", [True, False])
def test_create_unnamed(
    directory: Path, has_unnamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No name in the directory, not inherited by child processes, for reading and writing."""
    if not has_unnamed:
        monkeypatch.delattr(os, "O_TMPFILE")
    descriptor, can_be_linked = create_unnamed(str(directory))
    try:
        assert can_be_linked == has_unnamed
        assert os.listdir(directory) == []
        assert os.fstat(descriptor).st_nlink == 0
        assert not os.get_inheritable(descriptor)
        write_all(descriptor, [b"con", b"", b"tent"], 2)
        assert os.pread(descriptor, 100, 0) == b"\0\0content"
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES, errno.ENOENT, errno.EMFILE])
def test_create_unnamed_raises_what_the_system_says(
    directory: Path, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a file system without unnamed files is a reason to try with a name."""

    def fail(*_: Any, **__: Any) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(OSError, match=r".") as caught:
        create_unnamed(str(directory))
    assert caught.value.errno == error


def test_give_name_refuses_what_a_link_can_not_do(directory: Path) -> None:
    """A device, a pipe, a directory: OSError, and nothing has changed."""
    os.mkfifo(directory / "pipe")
    descriptor, _ = create_unnamed(str(directory))
    try:
        for path in ("/dev/null", str(directory / "pipe"), str(directory)):
            with pytest.raises(OSError, match="link"):
                give_name(descriptor, path, fsync=False)
        assert os.fstat(descriptor).st_nlink == 0
    finally:
        os.close(descriptor)
    assert os.listdir(directory) == ["pipe"]


def test_append_copy(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an offset on, in steps, at the end of the target."""
    monkeypatch.setattr(unnamed_file, "COPY_BYTES", 100)
    source, target = directory / "source", directory / "target"
    source.write_bytes(CONTENT)
    with source.open("rb") as reading, target.open("wb", buffering=0) as writing:
        append(writing.fileno(), b"before ")
        append_copy(reading.fileno(), 50, writing.fileno())
        append_copy(reading.fileno(), len(CONTENT), writing.fileno())
    assert target.read_bytes() == b"before " + CONTENT[50:]


def test_append_to_a_pipe_that_takes_little() -> None:
    """All of it, in as many writes as it takes."""
    data = bytes(range(256)) * 2000
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from cooperative_upload.unnamed_file import append; "
            "append(1, bytes(range(256)) * 2000)",
        ],
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert done.stdout == data
