"""From all bytes to ready or refused; and bytes that come anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event
import pytest
from greenlets import in_greenlet, wait_until
from upload_bench import DATA, MINE, Bench
from upload_services import ArrivingSource, body, in_pieces, service

from cooperative_upload.body import CooperativeInput
from cooperative_upload.errors import BodyError, StorageUnavailable
from cooperative_upload.uploads import (
    Answer,
    Creation,
    Hooks,
    LargerThanDeclared,
    Limits,
    NotAppendable,
    NotReadyYet,
    RefusedUpload,
    State,
    Upload,
    UploadService,
    WrongOffset,
)


class TestFinishing:
    """The last byte is acknowledged when all is done."""

    def test_a_storage_that_fails(self, bench: Bench) -> None:
        """The bytes are safe; whoever asks next tries again."""

        def test(uploads: UploadService) -> None:
            upload = uploads.create(MINE)
            broken = StorageUnavailable(OSError(5, "away"))
            bench.storage.fails["commit"] = broken
            with pytest.raises(StorageUnavailable):
                uploads.append(upload.id, 0, body(DATA))
            assert uploads.status(upload.id).state is State.RECEIVED
            with pytest.raises(StorageUnavailable):
                uploads.settle(upload.id)
            bench.storage.fails.clear()
            again = uploads.append(upload.id, len(DATA), body(b""))
            assert again.ready
            for _ in range(2):
                assert uploads.append(upload.id, len(DATA), body(b"")) == again
                assert uploads.finish(upload.id) == again
                assert uploads.settle(upload.id) == again

        bench.run(test)

    def test_missing_bytes(self, quick: Bench) -> None:
        """Nothing is finished that is not whole."""

        def test(uploads: UploadService) -> None:
            upload = uploads.create(MINE)
            with pytest.raises(WrongOffset):
                uploads.finish(upload.id)

        quick.run(test)

    def test_bytes_behind_the_end(self, quick: Bench) -> None:
        """Nothing is added to what is complete."""

        def test(uploads: UploadService) -> None:
            upload = uploads.create(MINE)
            uploads.append(upload.id, 0, body(DATA))
            with pytest.raises(WrongOffset):
                uploads.append(upload.id, 0, body(DATA))
            with pytest.raises(NotAppendable):
                uploads.append(upload.id, len(DATA), body(b"x"))

        quick.run(test)

    def test_a_check_that_takes_long(self, quick: Bench) -> None:
        """The client is told to ask again, by every verb that waits, and the check goes on."""
        checked = gevent.event.Event()
        calls = []

        def received(upload: Upload, content: Callable[[], Any]) -> None:
            calls.append(content().read())
            checked.wait()

        def test(uploads: UploadService) -> None:
            upload = uploads.create(MINE)
            with pytest.raises(NotReadyYet) as caught:
                uploads.append(upload.id, 0, body(DATA))
            assert (caught.value.code, caught.value.retry_after) == (423, 1)
            with pytest.raises(NotReadyYet):
                uploads.settle(upload.id)
            with pytest.raises(NotReadyYet):
                uploads.open(upload.id)
            assert uploads.status(upload.id).state is State.CHECKING
            checked.set()
            wait_until(lambda: uploads.status(upload.id).ready)
            assert uploads.settle(upload.id).ready

        quick.run(test, Hooks(received=received), upload_check_wait_seconds=0.05)
        assert calls == [DATA]

    def test_refused_by_a_check(self, bench: Bench) -> None:
        """Nothing is left of it but what is told, to everybody and again."""

        def received(upload: Upload, content: Callable[[], Any]) -> None:
            raise RefusedUpload("It has a virus.", 422)

        def test(uploads: UploadService) -> None:
            upload = uploads.create(Creation("me", size=10, limits=Limits(owner_bytes=10)))
            with pytest.raises(RefusedUpload, match="virus"):
                uploads.append(upload.id, 0, body(DATA[:10]))
            with pytest.raises(RefusedUpload, match="virus") as caught:
                uploads.settle(upload.id)
            assert caught.value.code == 422
            assert uploads.status(upload.id).state is State.REFUSED
            uploads.create(Creation("me", size=10, limits=Limits(owner_bytes=10)))

        bench.run(test, Hooks(received=received))
        assert not bench.storage.objects
        assert len(bench.storage.writings) == 1

    def test_refused_by_its_first_bytes(self, quick: Bench) -> None:
        """Before any is stored, whatever the pieces in which they come."""
        heads = []

        def first_bytes(upload: Upload, head: bytes) -> None:
            heads.append(head)
            if head.startswith(b"MZ"):
                raise RefusedUpload("No programs.", 415)

        def test(uploads: UploadService) -> None:
            upload = uploads.create(Creation("me", size=10_000))
            source = ArrivingSource(b"M", b"Z", bytes(9998))
            with pytest.raises(RefusedUpload):
                uploads.append(upload.id, 0, CooperativeInput(source, 10_000))
            upload = uploads.create(Creation("me", size=10_000))
            with pytest.raises(BodyError):
                uploads.append(upload.id, 0, body(b"ab", 10_000))
            assert uploads.append(upload.id, 2, body(bytes(9998))).ready

        quick.run(test, Hooks(first_bytes=first_bytes))
        assert heads == [b"MZ" + bytes(4094), b"ab"]
        assert len(quick.storage.objects) == 1

    def test_digests_of_the_whole(self, quick: Bench) -> None:
        """They are compared with what is stored."""

        def digests(data: bytes) -> dict[str, bytes]:
            return {"sha-256": hashlib.sha256(data).digest(), "md5": hashlib.md5(DATA).digest()}

        def test(uploads: UploadService) -> None:
            good = uploads.create(Creation("me", size=len(DATA), digests=digests(DATA)))
            uploads.append(good.id, 0, body(DATA[:100]))
            assert uploads.append(good.id, 100, body(DATA[100:])).ready
            bad = uploads.create(Creation("me", size=len(DATA), digests=digests(b"else")))
            with pytest.raises(RefusedUpload, match="sha-256"):
                uploads.append(bad.id, 0, body(DATA))

        quick.run(test)
        assert list(quick.storage.objects.values()) == [DATA]

    def test_a_key_that_is_taken(self, quick: Bench) -> None:
        """The object that has it is left alone, also when the upload is removed."""
        quick.storage.objects["name"] = b"first"

        def test() -> None:
            made = service(quick.storage, quick.database, key=lambda creation, id: "name")
            with made as uploads:
                upload = uploads.create(MINE)
                with pytest.raises(RefusedUpload) as caught:
                    uploads.append(upload.id, 0, body(DATA))
                assert caught.value.code == 409
                uploads.delete(upload.id)

        in_greenlet(test)
        assert quick.storage.objects == {"name": b"first"}
        assert not quick.storage.writings

    def test_the_answer_is_kept(self, quick: Bench) -> None:
        """The first one, for who did not hear it."""
        answer = Answer(201, (("X-Number", "1"), ("X-Number", "2")), '{"ok": "☃"}')

        def test(uploads: UploadService) -> None:
            upload = uploads.create(MINE)
            uploads.append(upload.id, 0, body(DATA))
            uploads.remember_answer(upload.id, answer)
            uploads.remember_answer(upload.id, Answer(500))
            assert uploads.settle(upload.id).answer == answer

        quick.run(test)


class TestAnywhere:
    """Chunks in any order, several at once."""

    def test_exactly_one_completes(self, bench: Bench) -> None:
        """All at once; each twice; and once more when it is ready."""
        received = []
        hooks = Hooks(received=lambda upload, content: received.append(upload.id))
        pieces = list(in_pieces(DATA, [1000] * 9))

        def test(uploads: UploadService) -> None:
            upload = uploads.create(MINE)
            writes = [
                gevent.spawn(uploads.write, upload.id, offset, body(piece))
                for offset, piece in reversed(pieces * 2)
            ]
            for write in writes:
                write.get(timeout=20)
            assert uploads.settle(upload.id).ready
            assert uploads.open(upload.id).read() == DATA
            late = body(pieces[0][1])
            assert uploads.write(upload.id, 0, late).ready
            assert late.received == 0

        bench.run(test, hooks)
        assert len(received) == 1

    def test_gaps_are_known(self, quick: Bench) -> None:
        """And a broken chunk counts as far as it came."""

        def test(uploads: UploadService) -> None:
            upload = uploads.create(MINE)
            uploads.write(upload.id, 1000, body(DATA[1000:2000]))
            with pytest.raises(BodyError):
                uploads.write(upload.id, 5000, body(DATA[5000:5010], 1000))
            with pytest.raises(LargerThanDeclared):
                uploads.write(upload.id, len(DATA) - 1, body(b"xx"))
            now = uploads.status(upload.id)
            assert now.received.pairs == ((1000, 2000), (5000, 5010))
            assert now.offset == 0

        quick.run(test)
