"""FileStorage.save of an application that stays as it is, beside werkzeug's own.

Each case is set up twice, once saved by werkzeug from memory and once by ours from a Spool, and
whatever can be seen of the two results is compared: names, content, inodes, rights, owners, access
lists, links, what open descriptors and watchers see, and the error.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from access_lists import ACCESS, DEFAULT, attributes, set_list
from disk import no_leaks
from greenlets import hub_scheduler, hub_writer, in_greenlet
from inotify import watching
from werkzeug.datastructures import FileStorage

from cooperative_upload.forms import werkzeug_patch
from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool.temporary_file import Spool

MEMORY = 500 * 1024
OLD = b"what was there before, and is longer than some of what comes"
IS_ROOT = os.getuid() == 0


@dataclass
class Case:
    """A place for one of the two, and how to look at it."""

    place: Path
    undo: contextlib.ExitStack
    path: Any = None
    seen: list[Callable[[], object]] = field(default_factory=list)

    def look(self, what: Callable[[], object]) -> None:
        """Compare also what this returns when the file has been saved."""
        self.seen.append(what)


# The targets. Each sets case.path.


def absent(case: Case) -> None:
    case.path = case.place / "file"


def existing(case: Case) -> None:
    path = case.path = case.place / "file"
    path.write_bytes(OLD)
    path.chmod(0o640)
    before = path.stat().st_ino
    case.look(lambda: path.stat().st_ino == before)


def hard_linked(case: Case) -> None:
    existing(case)
    os.link(case.path, case.place / "other name")


def open_elsewhere(case: Case) -> None:
    existing(case)
    reader = case.undo.enter_context(case.path.open("rb"))
    case.look(lambda: short(reader.read()))


def locked(case: Case) -> None:
    existing(case)
    holder = case.undo.enter_context(case.path.open("rb"))
    fcntl.flock(holder, fcntl.LOCK_EX)

    def lock_again() -> bool:
        with case.path.open("rb") as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    case.look(lock_again)


def named_temporary_file(case: Case) -> None:
    temporary: Any = tempfile.NamedTemporaryFile(dir=case.place)  # noqa: SIM115
    case.undo.enter_context(temporary)
    case.path = case.place / "temporary"
    os.rename(temporary.name, case.path)  # a name that is the same on both sides
    case.undo.callback(os.rename, case.path, temporary.name)
    case.look(lambda: (temporary.seek(0), short(temporary.read())))


def made_by_mkstemp(case: Case) -> None:
    case.path = case.place / "file"
    descriptor = os.open(case.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    case.undo.callback(os.close, descriptor)
    case.look(lambda: short(os.pread(descriptor, 1 << 24, 0)))


def with_attributes(case: Case) -> None:
    existing(case)
    os.setxattr(case.path, "user.origin", b"kept")


def with_access_list(case: Case) -> None:
    existing(case)
    set_list(case.path, "user::rw-,user:12:rw-,group::---,mask::rw-,other::---")


def set_user_id(case: Case) -> None:
    existing(case)
    case.path.chmod(0o4755)


def of_another_user(case: Case) -> None:
    if not IS_ROOT:
        pytest.skip("only root may give files away")
    existing(case)
    os.chown(case.path, 12345, 23456)


def symlink(case: Case) -> None:
    existing(case)
    (case.place / "link").symlink_to("file")
    case.path = case.place / "link"


def dangling_symlink(case: Case) -> None:
    case.path = case.place / "link"
    case.path.symlink_to("nothing yet")


def symlink_loop(case: Case) -> None:
    case.path = case.place / "link"
    case.path.symlink_to("link")


def pipe(case: Case) -> None:
    case.path = case.place / "pipe"
    os.mkfifo(case.path)
    received: list[object] = []
    reader = threading.Thread(target=lambda: received.append(short(case.path.read_bytes())))
    reader.start()
    case.undo.callback(reader.join, 20)

    def all_that_came() -> object:
        reader.join(20)
        return received

    case.look(all_that_came)


def device(case: Case) -> None:
    case.path = "/dev/null"


def full_device(case: Case) -> None:
    case.path = "/dev/full"


def directory(case: Case) -> None:
    case.path = case.place / "directory"
    case.path.mkdir()


def trailing_slash(case: Case) -> None:
    case.path = f"{case.place}/file/"


def missing_directory(case: Case) -> None:
    case.path = case.place / "missing" / "file"


def below_a_file(case: Case) -> None:
    existing(case)
    case.path = case.path / "below"


def name_too_long(case: Case) -> None:
    case.path = case.place / ("x" * 300)


def empty_name(case: Case) -> None:
    case.path = ""


def null_in_the_name(case: Case) -> None:
    case.path = f"{case.place}/a\0b"


def as_text(case: Case) -> None:
    case.path = f"{case.place}/näme \udcff\n"


def on_another_file_system(case: Case) -> None:
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == case.place.stat().st_dev:
        pytest.skip("no second file system at /dev/shm")
    elsewhere = Path(tempfile.mkdtemp(dir=shm))
    case.undo.callback(shutil.rmtree, elsewhere)
    case.path = elsewhere / "file"
    case.look(lambda: described(elsewhere))


def mounted_file(case: Case) -> None:
    existing(case)
    source = case.place / "source"
    source.write_bytes(OLD)
    mount = ["mount", "--bind", str(source), str(case.path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no permission to mount")
    case.undo.callback(subprocess.run, ["umount", str(case.path)], check=True)
    case.seen.clear()


TARGETS = [
    absent,
    existing,
    hard_linked,
    open_elsewhere,
    locked,
    named_temporary_file,
    made_by_mkstemp,
    with_attributes,
    with_access_list,
    set_user_id,
    of_another_user,
    symlink,
    dangling_symlink,
    symlink_loop,
    pipe,
    device,
    full_device,
    directory,
    trailing_slash,
    missing_directory,
    below_a_file,
    name_too_long,
    empty_name,
    null_in_the_name,
    as_text,
    on_another_file_system,
    mounted_file,
]


# The directories.


def plain(place: Path) -> None:
    """As it is made."""


def of_a_group(place: Path) -> None:
    if not IS_ROOT:
        pytest.skip("only root may give files away")
    os.chown(place, -1, 12345)
    place.chmod(0o2775)


def with_default_list(place: Path) -> None:
    set_list(place, "user::rwx,user:12:rwx,group::r-x,mask::rwx,other::---", DEFAULT)


def short(content: bytes) -> object:
    """What stands for a content, so that two of them are compared, and shown, at once."""
    return content if len(content) < 100 else (len(content), sha256(content).hexdigest())


def described(place: Path) -> list[object]:
    """All that can be seen of the entries of a directory."""
    found: list[object] = []
    for path in sorted(place.rglob("*")):
        status = path.lstat()
        kind = os.readlink(path) if path.is_symlink() else stat.S_IFMT(status.st_mode)
        content = short(path.read_bytes()) if stat.S_ISREG(status.st_mode) else None
        rights = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_nlink
        name = str(path.relative_to(place))
        found.append((name, kind, rights, {} if path.is_symlink() else attributes(path), content))
    return found


@pytest.fixture(autouse=True)
def spools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Spools are on the file system of tmp_path, and nothing is left over of them."""
    path = tmp_path / "spools"
    path.mkdir()
    with no_leaks(path), hub_scheduler(), hub_writer():
        yield path


def spooled(content: bytes, spools: Path, **settings: Any) -> Spool:
    """A spool as the form parser leaves it."""
    spool = Spool(UploadSettings(spool_directory=str(spools), **settings))
    spool.write(content)
    spool.seek(0)
    return spool


def outcome(case: Case, save: Callable[[], object]) -> list[object]:
    """What is to be compared."""
    error = None
    with watching(case.place) as events:
        try:
            save()
        except (OSError, ValueError) as raised:
            error = getattr(raised, "errno", None) or str(raised)
        happened = events()
    return [error, happened, *(look() for look in case.seen), described(case.place)]


def content_of(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def saved_by_werkzeug(content: bytes, path: Any) -> None:
    """The model."""
    with io.BytesIO(content) as stream:
        werkzeug_patch._werkzeug_save(FileStorage(stream), path)
        assert stream.tell() == len(content)


def saved_by_ours(spool: Spool, path: Any) -> None:
    """In a greenlet, as by a worker."""
    file = FileStorage(spool, "name")  # type: ignore[arg-type]
    in_greenlet(lambda: werkzeug_patch.save_cooperatively(file, path))


@contextlib.contextmanager
def prepared(
    place: Path, prepare: Callable[[Path], None], target: Callable[[Case], None]
) -> Iterator[Case]:
    place.mkdir()
    prepare(place)
    with contextlib.ExitStack() as undo:
        case = Case(place, undo)
        target(case)
        yield case


@pytest.mark.parametrize("size", [0, MEMORY, MEMORY + 1])
@pytest.mark.parametrize(
    ("prepare", "umask"),
    [(plain, 0o022), (plain, 0o077), (of_a_group, 0o002), (with_default_list, 0o077)],
)
@pytest.mark.parametrize("target", TARGETS)
def test_as_werkzeug(
    tmp_path: Path,
    spools: Path,
    target: Callable[[Case], None],
    prepare: Callable[[Path], None],
    umask: int,
    size: int,
) -> None:
    """The umask may be another one than that under which the spool was made."""
    content = content_of(size)
    with (
        prepared(tmp_path / "werkzeugs", prepare, target) as werkzeugs,
        prepared(tmp_path / "ours", prepare, target) as ours,
        in_greenlet(lambda: spooled(content, spools)) as spool,
        umask_of(umask),
    ):
        expected = outcome(werkzeugs, lambda: saved_by_werkzeug(content, werkzeugs.path))
        assert outcome(ours, lambda: saved_by_ours(spool, ours.path)) == expected
        if expected[0] is None:
            assert spool.tell() == size


@pytest.mark.parametrize("target", [target for target in TARGETS if target is not hard_linked])
def test_saved_whole_by_the_setting(
    tmp_path: Path, spools: Path, target: Callable[[Case], None]
) -> None:
    """save_whole: the same names, contents and errors, though a file that exists is replaced."""

    def names_and_contents(case: Case, save: Callable[[], object]) -> list[object]:
        error, _, *_, found = outcome(case, save)
        entries: Any = found
        return [error, [(name, kind, content) for name, kind, _, _, content in entries]]

    with (
        prepared(tmp_path / "werkzeugs", plain, target) as werkzeugs,
        prepared(tmp_path / "ours", plain, target) as ours,
        spooled(OLD[1:], spools, save_whole=True) as spool,
    ):
        expected = names_and_contents(
            werkzeugs, lambda: saved_by_werkzeug(OLD[1:], werkzeugs.path)
        )
        assert names_and_contents(ours, lambda: saved_by_ours(spool, ours.path)) == expected


@contextlib.contextmanager
def umask_of(umask: int) -> Iterator[None]:
    before = os.umask(umask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_the_stream_is_not_the_saved_file(tmp_path: Path, spools: Path, size: int) -> None:
    """What is done with the saved file does not change what was uploaded."""
    path = tmp_path / "file"
    with spooled(content_of(size), spools) as spool:
        saved_by_ours(spool, path)
        path.write_bytes(b"an edited picture")
        os.utime(path)
        spool.seek(0)
        assert spool.read() == content_of(size)
        spool.seek(0)
        saved_by_ours(spool, path)
    assert path.read_bytes() == content_of(size)


def test_a_file_that_exists_is_replaced_by_the_setting(tmp_path: Path, spools: Path) -> None:
    """save_whole: whoever has the old file open, or by another name, keeps the old content."""
    path = tmp_path / "file"
    path.write_bytes(OLD)
    os.link(path, tmp_path / "other name")
    with path.open("rb") as reader, spooled(b"new", spools, save_whole=True) as spool:
        saved_by_ours(spool, path)
        assert reader.read() == OLD
    assert path.read_bytes() == b"new"
    assert (tmp_path / "other name").read_bytes() == OLD


def test_access_lists_of_the_test_are_real(tmp_path: Path) -> None:
    """The kernel gives a new file below a default list one of its own."""
    with_default_list(tmp_path)
    (tmp_path / "file").touch()
    assert ACCESS in attributes(tmp_path / "file")
