"""A saved file has the name and mode that open() would give it, or the same error."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from saving import CONTENT, Save, by_open, compare, existing_file, mode
from unprivileged import give_to_nobody, open_directory, run_unprivileged

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
