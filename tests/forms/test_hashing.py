"""Digests by a thread: the same values, and a loop that goes on."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import gevent
import pytest
from greenlets import DEADLINE, hub_writer, in_greenlet, join, wait_until
from hypothesis import given
from hypothesis import strategies as st

from cooperative_upload.forms import digests as digests_module
from cooperative_upload.forms.hashing import Hashing
from cooperative_upload.settings import UploadSettings

NAMES = ["sha-256", "sha-512", "md5"]


def computed(blocks: list[bytes], names: list[str] = NAMES) -> dict[str, bytes]:
    hashing = Hashing(names, UploadSettings())
    for block in blocks:
        hashing.update(block)
    return hashing.finished().values()


def expected(blocks: list[bytes]) -> dict[str, bytes]:
    whole = b"".join(blocks)
    return {
        "sha-256": hashlib.sha256(whole).digest(),
        "sha-512": hashlib.sha512(whole).digest(),
        "md5": hashlib.md5(whole).digest(),
    }


@given(sizes=st.lists(st.sampled_from([0, 1, 1000, 65_536, 300_000]), max_size=12))
def test_the_same_values(sizes: list[int]) -> None:
    """Block by block, in their order, wherever a batch ends."""
    blocks = [bytes([number]) * size for number, size in enumerate(sizes)]
    assert computed(blocks) == expected(blocks)
    with hub_writer():
        assert in_greenlet(lambda: computed(blocks)) == expected(blocks)


def test_none() -> None:
    """Nothing is kept where no digest is wanted."""
    hashing = Hashing([], UploadSettings())
    hashing.update(b"x" * 1_000_000)
    assert hashing._batch == []
    assert hashing.finished().values() == {}


class SlowDigest:
    """One whose thread waits until it is told to go on."""

    go_on = threading.Event()
    threads: list[int]

    def __init__(self) -> None:
        self.size = 0

    def update(self, data: bytes) -> None:
        SlowDigest.threads.append(threading.get_ident())
        SlowDigest.go_on.wait(DEADLINE)
        self.size += len(data)

    def digest(self) -> bytes:
        return str(self.size).encode()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SlowDigest, "go_on", threading.Event())
    monkeypatch.setattr(SlowDigest, "threads", [], raising=False)
    monkeypatch.setitem(digests_module.ALGORITHMS, "slow", SlowDigest)


@pytest.mark.usefixtures("slow")
def test_the_loop_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a batch takes, and the next one is collected meanwhile."""
    collected: list[int] = []

    def upload() -> dict[str, bytes]:
        hashing = Hashing(["slow"], UploadSettings())
        for number in range(15):
            hashing.update(bytes(65_536))
            collected.append(number)
        return hashing.finished().values()

    with hub_writer():
        uploading: Any = gevent.spawn(upload)
        wait_until(lambda: SlowDigest.threads)
        wait_until(lambda: len(collected) == 15)  # all but the wait for the first batch
        assert not uploading.dead
        SlowDigest.go_on.set()
        join(uploading)
    assert uploading.value == {"slow": str(15 * 65_536).encode()}
    assert threading.get_ident() not in SlowDigest.threads


@pytest.mark.usefixtures("slow")
def test_one_that_is_killed_holds_up_nobody() -> None:
    """Its batch is hashed to its end, and the next upload's after it."""
    with hub_writer():
        killed = gevent.spawn(computed, [bytes(600_000)] * 3, ["slow"])
        wait_until(lambda: SlowDigest.threads)
        killed.kill()
        SlowDigest.go_on.set()
        assert in_greenlet(lambda: computed([bytes(600_000)], ["slow"])) == {"slow": b"600000"}
