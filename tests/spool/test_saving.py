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
from access_lists import DEFAULT, attributes, set_list
from disk import open_files
from greenlets import hub_scheduler, hub_writer, in_greenlet
from inotify import watching
from unprivileged import give_to_nobody, open_directory, run_unprivileged

from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool import file_content, unnamed_file
from cooperative_upload.spool.file_content import append
from cooperative_upload.spool.saving import written_whole
from cooperative_upload.spool.temporary_file import Spool

CONTENT = b"the new content" * 100

Save = Callable[[Any], None]


# The ways in which a file may come to its name.


def by_link(path: Any) -> None:
    """A spool on disk that gives its file away."""
    with spool_on_disk() as spool:
        spool.move_to(path)


def by_copy(path: Any) -> None:
    """One that keeps it."""
    with spool_on_disk() as spool:
        spool.save_to(path)


def from_memory(path: Any) -> None:
    """A spool that never came to disk."""
    with spool_in_memory() as spool:
        spool.save_to(path)


def moved_from_memory(path: Any) -> None:
    """Has nothing to give away."""
    with spool_in_memory() as spool:
        spool.move_to(path)


def by_open(path: Any) -> None:
    """The model."""
    with open(path, "wb") as file:
        file.write(CONTENT)


def spool_on_disk() -> Spool:
    return spool_of(0)


def spool_in_memory() -> Spool:
    return spool_of(1 << 20)


def spool_of(memory: int) -> Spool:
    spool = Spool(UploadSettings(spool_memory_bytes=memory))
    spool.write(CONTENT)
    spool.seek(0)
    return spool


@pytest.fixture(params=[by_link, by_copy, from_memory, moved_from_memory])
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


@pytest.mark.parametrize("existing", [0o644, 0o600, 0o640, 0o777, 0o400, 0o4755, 0o2771, 0o1666])
def test_an_existing_file(save: Save, directory: Path, existing: int) -> None:
    """It has the new content and keeps its mode, but for what let the old content run as somebody
    else."""
    path = directory / "old"
    path.write_bytes(b"old" * 10_000)
    path.chmod(existing)
    save(path)
    assert mode(path) == existing & 0o777
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
def save(path, way="save_to"):
    with Spool(UploadSettings(spool_memory_bytes=0)) as spool:
        spool.write(b"new content")
        spool.seek(0)
        getattr(spool, way)(path)

def errno_of(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return error.errno
    return None
"""


@pytest.mark.parametrize("way", ["save_to", "move_to", "write_to"])
def test_a_read_only_file_is_refused(way: str) -> None:
    """Although its directory would allow to replace it: open() refuses too."""
    with open_directory() as place:
        path = place / "file"
        path.write_bytes(b"old")
        path.chmod(0o444)
        give_to_nobody(path)
        run_unprivileged(f"""{SAVE}
assert errno_of(save, {str(path)!r}, {way!r}) == errno_of(open, {str(path)!r}, "wb")
assert open({str(path)!r}).read() == "old"
assert os.listdir({str(place)!r}) == ["file"]
""")


@pytest.mark.parametrize("way", ["save_to", "move_to", "write_to"])
def test_a_writable_file_in_a_closed_directory(way: str) -> None:
    """Can't be replaced, so it is written to, as open() does."""
    with open_directory() as place:
        path = place / "file"
        path.write_bytes(b"old, and longer than the new")
        path.chmod(0o600)
        give_to_nobody(path)
        inode = path.stat().st_ino
        place.chmod(0o555)
        run_unprivileged(f"""{SAVE}
save({str(path)!r}, {way!r})
assert open({str(path)!r}).read() == "new content"
assert errno_of(save, {str(place / "new")!r}, {way!r}) == 13
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

    def fail(descriptor: int) -> Iterator[None]:
        append(descriptor, b"the beginning")
        yield
        raise error

    with pytest.raises(type(error)):
        list(written_whole(str(path), fail, fsync=False))
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
    real = file_content.append

    def watched(descriptor: int, data: bytes) -> None:
        for start in range(0, len(data), 500):
            real(descriptor, data[start : start + 500])
            seen.append((os.listdir(directory), path.read_bytes()))

    monkeypatch.setattr(file_content, "_copy_in_the_kernel", file_content._copy_by_reading)
    for name in ("file_content", "temporary_file"):
        monkeypatch.setattr(sys.modules[f"cooperative_upload.spool.{name}"], "append", watched)
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
@pytest.mark.parametrize("memory", [0, 1 << 20])
@pytest.mark.parametrize("moves", [True, False])
def test_fsync_before_and_after_the_name(
    directory: Path,
    moves: bool,
    memory: int,
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
    with spool_of(memory) as spool:
        (spool.move_to if moves else spool.save_to)(path, fsync=True)
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


# Refusals, behind which a file can still be written in place.


def refused(error: int) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(error, os.strerror(error))

    return refuse


@pytest.mark.parametrize(
    ("function", "error"),
    [("replace", errno.EBUSY), ("replace", errno.EPERM), ("link", errno.EPERM)],
)
def test_a_file_that_can_not_be_replaced(
    way: Save, directory: Path, function: str, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the rules of a mount, a container or a policy: it is written to, if that is allowed."""
    path = existing_file(directory)
    before = path.stat().st_ino
    monkeypatch.setattr(os, function, refused(error))
    if function == "link":  # one with a name can still be renamed
        way(path)
        assert path.stat().st_ino != before
    else:
        way(path)
        assert path.stat().st_ino == before
    assert path.read_bytes() == CONTENT
    assert mode(path) == 0o640
    assert os.listdir(directory) == ["file"]


def test_a_file_system_without_modes(
    way: Save, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no mode can be given, a file that has another one keeps it by being written to."""
    monkeypatch.setattr(os, "fchmod", refused(errno.EPERM))
    path = existing_file(directory)
    before = path.stat().st_ino
    way(path)
    assert path.stat().st_ino == before
    assert mode(path) == 0o640
    path.chmod(0o644)
    before = path.stat().st_ino
    way(path)
    assert path.stat().st_ino != before
    assert path.read_bytes() == CONTENT


def test_a_file_that_is_mounted(way: Save, directory: Path) -> None:
    """As single files are into containers: EBUSY for whoever would replace it."""
    source, path = directory / "source", directory / "file"
    source.write_bytes(b"what was there before, and is longer" * 100)
    path.touch()
    mount = subprocess.run(["mount", "--bind", source, path], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip("no permission to mount")
    try:
        way(path)
        assert path.read_bytes() == CONTENT
    finally:
        subprocess.run(["umount", path], check=True)
    assert source.read_bytes() == CONTENT
    assert sorted(os.listdir(directory)) == ["file", "source"]


@pytest.mark.parametrize("existing", [True, False])
def test_without_room_for_a_name(
    way: Save, directory: Path, existing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is no refusal: what is there must not be emptied for it."""
    path = existing_file(directory) if existing else directory / "file"
    monkeypatch.setattr(os, "link", refused(errno.ENOSPC))
    with pytest.raises(OSError, match="no space") as caught:
        way(path)
    assert caught.value.errno == errno.ENOSPC
    assert not existing or path.read_bytes() == b"old"
    assert os.listdir(directory) == (["file"] if existing else [])


# Rights of a new file.


def test_a_move_copies_what_a_new_file_would_not_be(
    directory: Path,
) -> None:
    """By the umask of now, the access list of the directory, its group, a label."""
    with spool_on_disk() as spool:
        before = os.umask(0o077)  # not as when the spool was made
        try:
            spooled = os.fstat(spool.fileno()).st_ino
            spool.move_to(directory / "by umask")
        finally:
            os.umask(before)
    assert (directory / "by umask").stat().st_ino != spooled
    assert mode(directory / "by umask") == 0o600
    set_list(directory, "user::rwx,user:12:rwx,group::r-x,mask::rwx,other::---", DEFAULT)
    by_open(directory / "model")
    by_link(directory / "by list")
    assert attributes(directory / "by list") == attributes(directory / "model")
    assert mode(directory / "by list") == mode(directory / "model") == 0o660
    with spool_on_disk() as spool:
        os.setxattr(spool.fileno(), "user.label", b"of the spool directory")
        os.removexattr(directory, DEFAULT)
        spool.move_to(directory / "by label")
    assert attributes(directory / "by label") == {}


def test_the_access_list_of_a_file_that_is_replaced(save: Save, directory: Path) -> None:
    """Its mask is not taken for the rights of the group."""
    path = existing_file(directory)
    set_list(path, "user::rw-,user:12:rw-,group::---,mask::rw-,other::---")
    expected = attributes(path)
    save(path)
    assert attributes(path) == expected
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("existing", [True, False])
def test_watchers_are_told(way: Save, directory: Path, existing: bool) -> None:
    """Of a file that was written, or of one that was moved here."""
    path = existing_file(directory) if existing else directory / "file"
    with watching(directory) as events:
        way(path)
        told = ("moved_to", "file") if existing else ("close_write", "file")
        assert told in events()


# What becomes of the stream.


def inode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_nlink


@pytest.mark.parametrize("existing", [True, False])
def test_a_move_gives_the_file_away(directory: Path, existing: bool) -> None:
    """The spooled file itself has the name then, and its stream is closed."""
    path = existing_file(directory) if existing else directory / "file"
    spool = spool_on_disk()
    spooled = os.fstat(spool.fileno()).st_ino
    spool.move_to(path)
    assert inode(path) == (spooled, 1)
    assert path.read_bytes() == CONTENT
    for call in (spool.read, spool.tell, lambda: spool.move_to(path)):
        with pytest.raises(ValueError, match="closed file"):
            call()


def test_a_move_that_fails_leaves_the_stream(directory: Path) -> None:
    """The application may try another path."""
    for spool in (spool_on_disk(), spool_in_memory()):
        with spool, pytest.raises(FileNotFoundError):
            spool.move_to(directory / "missing" / "file")
        assert spool.closed
    with spool_on_disk() as spool:
        with pytest.raises(IsADirectoryError):
            spool.move_to(directory)
        assert spool.read() == CONTENT
        spool.seek(0)
        spool.move_to(directory / "file")
    assert (directory / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("way", ["save_to", "write_to"])
@pytest.mark.parametrize("make", [spool_on_disk, spool_in_memory])
def test_a_saved_file_is_not_the_streams(
    directory: Path, way: str, make: Callable[[], Spool]
) -> None:
    """Whatever happens to the one does not show in the other."""
    path = directory / "file"
    with make() as spool:
        getattr(spool, way)(path)
        with path.open("r+b") as file:
            file.write(b"XXX")
        os.utime(path)
        spool.seek(0)
        assert spool.read() == CONTENT
        getattr(spool, way)(directory / "at the end")
        assert (directory / "at the end").read_bytes() == b""
        spool.seek(0)
        spool.write(b"YYY")
        spool.truncate(3)
        assert path.read_bytes() == b"XXX" + CONTENT[3:]


@pytest.mark.parametrize("way", ["save_to", "write_to"])
def test_a_save_ends_at_the_end(directory: Path, way: str) -> None:
    """As a copy of the stream leaves it."""
    for make in (spool_in_memory, spool_on_disk):
        with make() as spool:
            getattr(spool, way)(directory / make.__name__)
            assert spool.tell() == len(CONTENT)
            assert spool.read() == b""


@pytest.mark.parametrize("memory", [0, 1 << 20])
@pytest.mark.parametrize("way", ["save_to", "write_to", "move_to"])
@pytest.mark.parametrize("start", [1, 700, len(CONTENT), len(CONTENT) + 5])
def test_a_save_begins_at_the_position(directory: Path, start: int, memory: int, way: str) -> None:
    """What was read before is not saved; the position is not moved back."""
    path = directory / "file"
    with spool_of(memory) as spool:
        spool.seek(start)
        getattr(spool, way)(path)
        assert path.read_bytes() == CONTENT[start:]
        if way != "move_to":
            assert spool.tell() == max(start, len(CONTENT))
            spool.seek(0)
            getattr(spool, way)(path)
            assert path.read_bytes() == CONTENT


def test_saving_in_a_greenlet(directory: Path) -> None:
    """The same through the writer's threads."""
    with hub_scheduler(), hub_writer():
        for number, way in enumerate([by_link, by_copy, from_memory, moved_from_memory]):
            path = directory / str(number)
            in_greenlet(lambda way=way, path=path: way(path))  # type: ignore[misc]
            assert path.read_bytes() == CONTENT
