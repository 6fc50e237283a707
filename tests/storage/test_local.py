"""What a folder brings: rights, links, mounts, attributes, full disks."""

from __future__ import annotations

import datetime
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from disk import open_files, small_file_system
from greenlets import DEADLINE, hub_writer, in_greenlet, wait_until
from storage_contract import again, content_of, is_there, put, text, write

from cooperative_upload.errors import (
    AlreadyStored,
    NotStored,
    SettingsError,
    StorageFull,
    StorageRefused,
    UnsafePath,
)
from cooperative_upload.settings import UploadSettings
from cooperative_upload.storage import Description, LocalStorage, Ranges

SETTINGS = UploadSettings(spool_memory_bytes=2000, spool_batch_bytes=4096)
DATA = text(20_000)
PICTURE = Description("image/png", {"name": "Ü"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def storage(root: Path) -> LocalStorage:
    return LocalStorage(root, SETTINGS)


def deposited(storage: LocalStorage, key: str, data: bytes = DATA, **more: Any) -> None:
    with storage.deposit(key, description=PICTURE) as deposit:
        deposit.write(data)
        deposit.commit(**more)


def written(storage: LocalStorage, key: str, data: bytes = DATA, **more: Any) -> None:
    token = storage.begin(key, size=len(data), description=PICTURE)
    write(storage, token, 0, data)
    stored = storage.commit(token, len(data), **more)
    assert storage.commit(token, len(data), **more) == stored


both = pytest.mark.parametrize("store", [deposited, written])
Store = Callable[..., None]


def hidden(root: Path) -> list[str]:
    return [path.name for path in (root / ".uploads").rglob("*") if path.is_file()]


def write_blocks(writer: Any, data: bytes) -> None:
    for start in range(0, len(data), 10_000):
        writer.write(data[start : start + 10_000])


def test_the_root_has_to_be_there(root: Path, storage: LocalStorage) -> None:
    """It is never made: what is not mounted is not written to."""
    with pytest.raises(SettingsError, match="there is no directory"):
        LocalStorage(root / "other")
    with pytest.raises(SettingsError, match="expected an absolute path"):
        LocalStorage("root")
    root.rmdir()
    with pytest.raises(StorageRefused):
        put(storage, "a/name", b"x")
    with pytest.raises(StorageRefused):
        storage.begin("name")
    assert not root.exists()


@both
@pytest.mark.parametrize("size", [10, 20_000])
def test_a_new_file_has_the_mode_that_open_gives(
    root: Path, storage: LocalStorage, store: Store, size: int
) -> None:
    before = os.umask(0o027)
    try:
        store(storage, "a/name", text(size))
        (root / "a" / "by open").write_bytes(b"")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (root / "a").iterdir()}
    assert modes == {0o640}


@both
def test_one_that_is_replaced_hands_its_rights_on(
    root: Path, storage: LocalStorage, store: Store
) -> None:
    put(storage, "name", b"old")
    (root / "name").chmod(0o600)
    store(storage, "name", overwrite=True)
    assert stat.S_IMODE((root / "name").stat().st_mode) == 0o600
    assert content_of(storage, "name") == DATA


@both
def test_without_unnamed_files(
    root: Path, storage: LocalStorage, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS, FUSE."""
    monkeypatch.delattr(os, "O_TMPFILE")
    store(storage, "name")
    with pytest.raises(AlreadyStored):
        deposited(storage, "name")
    store(storage, "name", DATA[:5000], overwrite=True)
    assert content_of(storage, "name") == DATA[:5000]
    assert [path.name for path in root.iterdir() if not path.is_dir()] == ["name"]
    assert hidden(root) == []


@both
def test_without_extended_attributes(
    root: Path, storage: LocalStorage, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known of an object goes with it all the same, and ends with it."""

    def refuse(*_: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "not here")

    for name in ("setxattr", "getxattr", "listxattr"):
        monkeypatch.setattr(os, name, refuse)
    store(storage, "name")
    found = storage.stat("name")
    assert (found.content_type, found.metadata) == (PICTURE.content_type, PICTURE.metadata)
    put(storage, "name", b"new", overwrite=True)
    assert storage.stat("name").content_type is None
    store(storage, "name", overwrite=True)
    assert storage.stat("name").content_type == PICTURE.content_type
    storage.delete("name")
    assert hidden(root) == []


def test_more_metadata_than_an_attribute_holds(root: Path, storage: LocalStorage) -> None:
    """ext4 has 4 KiB; tmpfs and XFS take it all."""
    description = Description(metadata={"name": "Ü" * 10_000})
    with storage.deposit("name", description=description) as deposit:
        deposit.commit()
    assert storage.stat("name").metadata == description.metadata
    storage.delete("name")
    assert hidden(root) == []


@both
def test_another_file_system_below_the_root(
    root: Path, storage: LocalStorage, store: Store
) -> None:
    with small_file_system(1_000_000, below=root) as mounted:
        key = f"{mounted.name}/a/name"
        store(storage, key)
        assert content_of(storage, key) == DATA
        with pytest.raises(AlreadyStored):
            deposited(storage, key)
        store(storage, key, DATA[:7000], overwrite=True)
        assert content_of(storage, key) == DATA[:7000]
        assert storage.stat(key).metadata == PICTURE.metadata
        assert [one.key for one in storage.list()] == [key]
        assert os.listdir(mounted / "a") == ["name"]
        assert hidden(root) == []
        wait_until(lambda: open_files(mounted) == 0)


@both
def test_symbolic_links(root: Path, storage: LocalStorage, store: Store) -> None:
    """Those that stay in the root are followed, as by save(); those that lead out are not."""
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "out").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    (root / "folder").mkdir()
    (root / "in").symlink_to("folder")
    for key in ("out/new", "out/secret", "file"):
        for ask in (storage.open, storage.stat, storage.begin):
            with pytest.raises(UnsafePath):
                ask(key)
        with pytest.raises(UnsafePath):
            store(storage, key, overwrite=True)
    store(storage, "in/name")
    assert (root / "folder" / "name").read_bytes() == DATA
    assert [one.key for one in storage.list() if one.key != "file"] == ["folder/name"]
    (root / "to").symlink_to("folder/name")
    assert content_of(storage, "to") == DATA
    storage.delete("to")
    assert content_of(storage, "folder/name") == DATA
    assert sorted(os.listdir(outside)) == ["secret"]


@both
def test_a_file_where_a_folder_is_wanted(root: Path, storage: LocalStorage, store: Store) -> None:
    """And the other way round: the key is taken, whatever was asked for."""
    put(storage, "a", b"x")
    put(storage, "b/c", b"x")
    for key in ("a/b", "b"):
        for overwrite in (False, True):
            with pytest.raises(AlreadyStored):
                store(storage, key, overwrite=overwrite)
    for token in list(storage.leftovers(datetime.timedelta(0))):
        storage.abort(token)
    assert sorted(one.key for one in storage.list()) == ["a", "b/c"]
    assert hidden(root) == []


def test_what_others_put_there(root: Path, storage: LocalStorage) -> None:
    """Files are objects; what no key can name, and what is no file, is left out."""
    (root / "by hand").write_bytes(b"12345")
    (root / "back\\slash").write_bytes(b"")
    (root / os.fsdecode(b"\xff")).write_bytes(b"")
    os.mkfifo(root / "pipe")
    assert [(one.key, one.size) for one in storage.list()] == [("by hand", 5)]
    with pytest.raises(NotStored):
        storage.open("pipe")
    os.setxattr(root / "by hand", "user.cooperative_upload", b"{not JSON")
    assert storage.stat("by hand").content_type is None


@both
def test_folders_go_with_their_last_object(
    root: Path, storage: LocalStorage, store: Store
) -> None:
    store(storage, "a/b/c")
    store(storage, "a/d")
    storage.delete("a/b/c")
    assert os.listdir(root / "a") == ["d"]
    storage.delete("a/d")
    assert [name for name in os.listdir(root) if name != ".uploads"] == []


def test_folders_that_are_taken_away_meanwhile(storage: LocalStorage) -> None:
    """Objects come and go in one folder: none is lost, none fails."""

    def come_and_go(number: int) -> None:
        for _ in range(20):
            put(storage, f"a/b/{number}", b"x")
            storage.delete(f"a/b/{number}")
        put(storage, f"a/b/{number}", b"x")

    with hub_writer():
        greenlets = [gevent.spawn(come_and_go, number) for number in range(4)]
        gevent.joinall(greenlets, timeout=DEADLINE, raise_error=True)
    assert [one.key for one in storage.list()] == [f"a/b/{number}" for number in range(4)]


def test_room_is_reserved_at_the_beginning(storage: LocalStorage) -> None:
    """Two declared sizes that the disk can't have together: the second is refused, at once."""
    with small_file_system(1_000_000) as path:
        storage = LocalStorage(path, SETTINGS)
        token = storage.begin("first", size=700_000)
        with pytest.raises(StorageFull):
            storage.begin("second", size=700_000)
        with pytest.raises(StorageFull):
            storage.deposit("third", size=700_000)
        assert len(hidden(path)) == 2
        data = text(700_000)
        write(storage, token, 0, data)
        storage.commit(token, len(data))
        assert content_of(storage, "first") == data
        assert hidden(path) == []


def test_a_disk_that_is_full_on_the_way() -> None:
    """What was told stays; the writer stays failed; another goes on when there is room again."""
    with small_file_system(1_000_000) as path:
        storage = LocalStorage(path, SETTINGS)
        data = text(600_000)

        def test() -> None:
            token = again(storage.begin("name"))
            write(storage, token, 0, data[:100_000])
            (path / "other").write_bytes(bytes(700_000))
            with storage.writer(token, 100_000) as writer:
                with pytest.raises(StorageFull):
                    write_blocks(writer, data[100_000:])
                with pytest.raises(StorageFull):
                    writer.finish()
            assert storage.durable(token) == Ranges(((0, 100_000),))
            with storage.deposit("deposit") as deposit, pytest.raises(StorageFull):
                write_blocks(deposit, data)
            (path / "other").unlink()
            write(storage, token, 100_000, data[100_000:])
            storage.commit(token, len(data))
            assert content_of(storage, "name") == data
            assert not is_there(storage, "deposit")

        with hub_writer():
            in_greenlet(test)
        wait_until(lambda: open_files(path) == 0)


def test_less_than_was_written(storage: LocalStorage) -> None:
    """What is cut off at a commit that is refused does not count as written later."""
    put(storage, "name", b"old")
    token = again(storage.begin("name"))
    write(storage, token, 0, DATA)
    with pytest.raises(AlreadyStored):
        storage.commit(token, 5)
    assert storage.durable(token) == Ranges(((0, 5),))
    write(storage, token, 100, DATA[100:])
    with pytest.raises(ValueError, match="not all"):
        storage.commit(token, len(DATA), overwrite=True)
    storage.commit(token, 5, overwrite=True)
    assert content_of(storage, "name") == DATA[:5]


@pytest.mark.parametrize("fsync", [True, False])
def test_what_is_on_the_medium_when(
    root: Path, monkeypatch: pytest.MonkeyPatch, fsync: bool
) -> None:
    """Content before the journal says so, and both before anybody is told; names at the end."""
    calls: list[str] = []

    def named(descriptor: int) -> str:
        return os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), root)

    for name in ("fdatasync", "fsync"):
        sync = getattr(os, name)

        def recorded(descriptor: int, sync: Any = sync) -> None:
            calls.append(named(descriptor))
            sync(descriptor)

        monkeypatch.setattr(os, name, recorded)
    settings = UploadSettings(spool_batch_bytes=4096, storage_fsync=fsync)
    storage = LocalStorage(root, settings)
    token = storage.begin("a/name")
    content, journal = f".uploads/{token['id']}", f".uploads/{token['id']}.journal"
    begun, calls[:] = list(calls), []
    write(storage, token, 0, DATA)
    told, calls[:] = list(calls), []
    storage.commit(token, len(DATA))
    committed, calls[:] = list(calls), []
    deposited(storage, "b")
    if not fsync:
        assert begun + told + committed + calls == []
        return
    assert begun == [".", journal, ".uploads"]
    assert told == [content, journal]
    assert committed == [content, ".", "a"]
    assert calls[-1] == "."
    assert len(calls) == 2


def test_long_writings_become_durable_on_the_way(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in the middle of a gigabyte does not cost all of it."""
    monkeypatch.setattr("cooperative_upload.storage.local_writing._DURABLE_EVERY", 8000)
    token = again(storage.begin("name"))
    with storage.writer(token, 0) as writer:
        for start in range(0, len(DATA), 1000):
            writer.write(DATA[start : start + 1000])
        assert storage.durable(token) == Ranges(((0, 16_000),))
        assert writer.finish() == Ranges(((0, len(DATA)),))
    storage.commit(token, len(DATA))
    assert content_of(storage, "name") == DATA
