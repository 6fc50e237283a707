"""Uploads that consist of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import gevent.event
import pytest
from greenlets import wait_until
from upload_bench import DATA, Bench
from upload_services import body

from cooperative_upload.uploads import (
    Creation,
    Hooks,
    InconsistentLength,
    Limits,
    NoSuchUpload,
    NotAppendable,
    NotConcatenable,
    RefusedUpload,
    TypeRefused,
    Upload,
    UploadService,
)


class TestConcatenation:
    """One upload of others."""

    def parts(self, uploads: UploadService, *contents: bytes) -> list[str]:
        ids = []
        for content in contents:
            part = uploads.create(Creation("me", size=len(content), partial=True))
            if content:
                assert uploads.append(part.id, 0, body(content)).ready
            ids.append(uploads.finish(part.id).id)
        return ids

    def test_in_their_order(self, bench: Bench) -> None:
        """Nothing is copied; every range can be read; all goes with it."""

        def test(uploads: UploadService) -> None:
            ids = self.parts(uploads, DATA[:10], b"", DATA[10:7000], DATA[7000:])
            whole = uploads.concatenate(Creation("me", name="whole"), ids)
            assert (whole.ready, whole.size) == (True, len(DATA))
            assert uploads.open(whole.id).read() == DATA
            assert list(uploads.open(whole.id, 5, 15).blocks()) == [DATA[5:10], DATA[10:15]]
            assert uploads.open(whole.id, 8000).read() == DATA[8000:]
            assert uploads.open(whole.id, 10**6).read() == b""
            with pytest.raises(NotAppendable):
                uploads.append(whole.id, len(DATA), body(b""))
            uploads.delete(ids[0])  # it belongs to the whole now
            assert [upload.name for upload in uploads.of_owner("me").uploads] == ["whole"]
            assert uploads.open(whole.id).read() == DATA
            uploads.delete(whole.id)
            assert not uploads.of_owner("me").uploads

        bench.run(test)
        assert not bench.storage.objects

    def test_the_whole_is_checked(self, quick: Bench) -> None:
        """Parts are not, one by one: what nobody would take can't come in pieces."""

        def first_bytes(upload: Upload, head: bytes) -> None:
            assert head == DATA[:4096]
            if upload.name == "bad beginning":
                raise RefusedUpload("not such a beginning", 415)

        def received(upload: Upload, content: Callable[[], Any]) -> None:
            with content() as opened:
                assert opened.read() == DATA
            if upload.name == "bad":
                raise RefusedUpload("it has a virus")

        def test(uploads: UploadService) -> None:
            types = Limits(types=("image/*",))
            with pytest.raises(TypeRefused):
                uploads.concatenate(Creation("me", limits=types), self.parts(uploads, b"x"))
            for name in ("bad", "bad beginning"):
                ids = self.parts(uploads, DATA[:10], DATA[10:])
                with pytest.raises(RefusedUpload):
                    uploads.concatenate(Creation("me", name=name), ids)
                uploads.sweep()
                for id in ids:
                    with pytest.raises(NoSuchUpload):
                        uploads.status(id)
            ids = self.parts(uploads, DATA[:10], DATA[10:])
            assert uploads.concatenate(Creation("me", name="good"), ids).ready

        quick.run(test, Hooks(first_bytes=first_bytes, received=received))
        assert len(quick.storage.objects) == 3  # those of "good", and one that is part of nothing

    def test_a_check_of_the_whole_that_takes_long(self, quick: Bench) -> None:
        """It is there, and not ready yet."""
        checked = gevent.event.Event()

        def test(uploads: UploadService) -> None:
            whole = uploads.concatenate(Creation("me"), self.parts(uploads, b"x"))
            assert not whole.ready
            checked.set()
            wait_until(lambda: uploads.status(whole.id).ready)

        hooks = Hooks(received=lambda upload, content: checked.wait())
        quick.run(test, hooks, upload_check_wait_seconds=0.05)

    def test_what_can_be_none(self, quick: Bench) -> None:
        """Others', whole ones, incomplete ones, those of another one."""

        def test(uploads: UploadService) -> None:
            mine = Creation("me")
            (part,) = self.parts(uploads, b"x")
            whole = uploads.append(uploads.create(mine).id, 0, body(b"x"), last=True)
            empty = uploads.create(Creation("me", size=1, partial=True))
            for ids in ([], [part, part], [whole.id], [empty.id]):
                with pytest.raises(NotConcatenable):
                    uploads.concatenate(mine, ids)
            with pytest.raises(NotConcatenable):
                uploads.concatenate(Creation("somebody else"), [part])
            with pytest.raises(NoSuchUpload):
                uploads.concatenate(mine, ["A" * 24])
            with pytest.raises(InconsistentLength):
                uploads.concatenate(Creation("me", size=2), [part])
            uploads.concatenate(mine, [part])
            with pytest.raises(NotConcatenable):
                uploads.concatenate(mine, [part])

        quick.run(test)
