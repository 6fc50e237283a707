"""One file to its key: in one go or resumably, on a real storage, broken off at any point."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cooperative_upload.errors import AlreadyStored, StorageUnavailable
from cooperative_upload.server.kept_writings import KeptWriting, kept_writing
from cooperative_upload.server.local_files import BLOCK, LocalChange, open_local
from cooperative_upload.server.sending import Order, drop, send_in_one_go, send_resumably
from cooperative_upload.server.telling import Silence
from cooperative_upload.storage import Description, LocalStorage, Ranges, Stored

CONTENT = os.urandom(4 * BLOCK + 5)
ORDER = Order("folder/a.bin", Description(content_type="text/plain"))


class Told(Silence):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int | None, int]] = []
        self.bytes = 0
        self.said: list[str] = []

    def file(self, name: str, size: int | None, done: int = 0) -> None:
        self.begun.append((Path(name).name, size, done))

    def sent(self, size: int) -> None:
        self.bytes += size

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


class Breaking(LocalStorage):
    """Goes away after so many blocks, of which the first two are durable by then."""

    blocks = 3

    def writer(self, token: Any, offset: int) -> Any:
        self._written = 0
        writer: Any = super().writer(token, offset)
        write = writer.write

        def breaking(block: bytes) -> int:
            self._written += 1
            if self._written == 3:
                writer.finish()
            if self._written > self.blocks:
                raise StorageUnavailable(OSError(111, "Connection refused"))
            size: int = write(block)
            return size

        writer.write = breaking
        return writer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def storage(root: Path) -> LocalStorage:
    return LocalStorage(root)


@contextmanager
def kept_of(path: Path) -> Iterator[KeptWriting]:
    with kept_writing(path.parent / "state", str(path), "file:///a.bin") as kept:
        yield kept


def send(storage: LocalStorage, path: Path, told: Told, order: Order = ORDER) -> Stored:
    """As `put --resume` does."""
    with open_local(str(path)) as file, kept_of(path) as kept:
        assert file.version
        return send_resumably(storage, file, file.version, order, kept, told)


def is_kept(path: Path) -> bool:
    with kept_of(path) as kept:
        return kept.read() is not None


def leftovers(storage: LocalStorage) -> list[Any]:
    return list(storage.leftovers(timedelta(0)))


def in_one_go(storage: LocalStorage, path: Path, told: Told, order: Order = ORDER) -> Stored:
    with open_local(str(path)) as file:
        return send_in_one_go(storage, file, order, told)


each_way = pytest.mark.parametrize("way", [send, in_one_go])
Way = Callable[..., Stored]


@each_way
def test_a_file_is_stored_whole(way: Way, storage: LocalStorage, path: Path, root: Path) -> None:
    told = Told()
    stored = way(storage, path, told)
    assert (stored.key, stored.size) == ("folder/a.bin", len(CONTENT))
    assert storage.stat("folder/a.bin").content_type == "text/plain"
    assert (root / "folder" / "a.bin").read_bytes() == CONTENT
    assert told.begun == [("a.bin", len(CONTENT), 0)]
    assert told.bytes == len(CONTENT)
    assert not is_kept(path)
    assert leftovers(storage) == []


@each_way
def test_what_is_there_is_refused_before_a_byte_is_sent(
    way: Way, storage: LocalStorage, path: Path, root: Path
) -> None:
    (root / "folder").mkdir()
    (root / "folder" / "a.bin").write_bytes(b"mine")
    told = Told()
    with pytest.raises(AlreadyStored):
        way(storage, path, told)
    assert told.bytes == 0
    assert (root / "folder" / "a.bin").read_bytes() == b"mine"
    assert not is_kept(path)
    assert leftovers(storage) == []
    way(storage, path, told, Order("folder/a.bin", overwrite=True))
    assert (root / "folder" / "a.bin").read_bytes() == CONTENT


@each_way
def test_a_file_that_changes_meanwhile_is_not_stored(
    way: Way, storage: LocalStorage, path: Path, root: Path
) -> None:
    class Changing(Told):
        def storing(self) -> None:
            os.utime(path, ns=(0, 0))

    with pytest.raises(LocalChange):
        way(storage, path, Changing())
    assert not (root / "folder" / "a.bin").exists()
    assert not is_kept(path)
    assert leftovers(storage) == []


def test_what_was_durable_is_not_sent_again(path: Path, root: Path) -> None:
    with pytest.raises(StorageUnavailable):
        send(Breaking(root), path, Told())
    assert is_kept(path)
    told = Told()
    send(LocalStorage(root), path, told)
    assert told.begun == [("a.bin", len(CONTENT), 2 * BLOCK)]
    assert told.bytes == len(CONTENT) - 2 * BLOCK
    assert (root / "folder" / "a.bin").read_bytes() == CONTENT
    assert not is_kept(path)


def test_gaps_are_filled(path: Path, root: Path) -> None:
    storage = LocalStorage(root)
    with pytest.raises(StorageUnavailable):
        send(Breaking(root), path, Told())
    with kept_of(path) as kept:
        earlier = kept.read()
    assert earlier
    with storage.writer(earlier.token, 3 * BLOCK) as writer:
        writer.write(CONTENT[3 * BLOCK : 4 * BLOCK])
        writer.finish()
    assert storage.durable(earlier.token) == Ranges(((0, 2 * BLOCK), (3 * BLOCK, 4 * BLOCK)))
    told = Told()
    send(storage, path, told)
    assert told.bytes == BLOCK + 5
    assert (root / "folder" / "a.bin").read_bytes() == CONTENT


def test_in_one_go_nothing_is_left_of_what_breaks_off(path: Path, root: Path) -> None:
    class Full(LocalStorage):
        def deposit(self, *arguments: Any, **named: Any) -> Any:
            deposit: Any = super().deposit(*arguments, **named)

            def full(block: bytes) -> None:
                raise StorageUnavailable(OSError(111, "Connection refused"))

            deposit.write = full
            return deposit

    with pytest.raises(StorageUnavailable):
        in_one_go(Full(root), path, Told())
    assert [found for found in root.rglob("*") if found.is_file()] == []


def test_another_version_of_the_file_begins_anew(path: Path, root: Path) -> None:
    with pytest.raises(StorageUnavailable):
        send(Breaking(root), path, Told())
    path.write_bytes(b"new" + CONTENT)
    told = Told()
    send(LocalStorage(root), path, told)
    assert told.said == [f"{path} was changed since its upload began: it begins anew."]
    assert told.bytes == len(CONTENT) + 3
    assert (root / "folder" / "a.bin").read_bytes() == b"new" + CONTENT
    assert leftovers(LocalStorage(root)) == []


def test_a_writing_that_was_swept_begins_anew(path: Path, root: Path) -> None:
    with pytest.raises(StorageUnavailable):
        send(Breaking(root), path, Told())
    storage = LocalStorage(root)
    for token in leftovers(storage):
        storage.abort(token)
    told = Told()
    send(storage, path, told)
    assert told.said == [f"What was stored of {path} is gone: it begins anew."]
    assert (root / "folder" / "a.bin").read_bytes() == CONTENT


def test_a_commit_that_could_not_be_told_is_told_now(
    path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(root)
    with monkeypatch.context() as patch:
        real = storage.commit

        def killed(*arguments: Any, **named: Any) -> Any:
            real(*arguments, **named)
            raise KeyboardInterrupt

        patch.setattr(storage, "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            send(storage, path, Told())
    assert is_kept(path)
    told = Told()
    stored = send(storage, path, told)
    assert (stored.size, told.bytes, told.said) == (len(CONTENT), 0, [])
    assert not is_kept(path)


def test_what_nobody_goes_on_with_is_dropped(path: Path, root: Path) -> None:
    with pytest.raises(StorageUnavailable):
        send(Breaking(root), path, Told())
    storage = LocalStorage(root)
    assert len(leftovers(storage)) == 1
    with kept_of(path) as kept:
        drop(storage, kept)
    assert leftovers(storage) == []
    assert not is_kept(path)
