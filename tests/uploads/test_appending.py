"""What append() does, and who takes over from whom, on each database."""

from __future__ import annotations

import time
from typing import Any

import gevent
import gevent.event
import pytest
from greenlets import wait_until
from upload_bench import DATA, MINE, Bench
from upload_services import ArrivingSource, body, in_pieces, service

from cooperative_upload.body import CooperativeInput
from cooperative_upload.errors import BodyError
from cooperative_upload.uploads import (
    Creation,
    InconsistentLength,
    LargerThanDeclared,
    Limits,
    NoSuchUpload,
    State,
    Superseded,
    Upload,
    UploadGone,
    UploadService,
    UploadTooLarge,
    WrongOffset,
)


def test_from_the_first_byte_to_the_last(bench: Bench) -> None:
    """Pieces are added where it goes on; the last one makes it ready, in its place."""

    def test(uploads: UploadService) -> None:
        upload = uploads.create(MINE)
        assert (upload.state, upload.offset, upload.size) == (State.OPEN, 0, len(DATA))
        for offset, piece in in_pieces(DATA, [1, 4096, 65]):
            upload = uploads.append(upload.id, offset, body(piece))
            assert upload.offset == offset + len(piece)
            assert uploads.status(upload.id) == upload
        assert upload.ready
        assert uploads.open(upload.id).read() == DATA
        assert uploads.open(upload.id, 10, 20).read() == DATA[10:20]

    bench.run(test)
    assert list(bench.storage.objects.values()) == [DATA]
    assert not bench.storage.writings


def test_what_was_given_is_kept(bench: Bench) -> None:
    """In Unicode, and what no database takes is replaced."""
    creation = Creation(
        "owner ∂",
        name="Фильм\0 \ud800.mp4",
        content_type="video/mp4",
        metadata={"größe": "☃" * 1000},
        digests={"sha-256": b"1" * 32, "unixsum": b"2"},
    )

    def test(uploads: UploadService) -> Upload:
        return uploads.status(uploads.create(creation).id, owner="owner ∂")

    upload = bench.run(test)
    assert upload.name == "Фильм\ufffd ?.mp4"
    assert (upload.content_type, upload.size) == ("video/mp4", None)
    assert upload.metadata == creation.metadata
    assert upload.digests == {"sha-256": b"1" * 32}


def test_wrong_offset(quick: Bench) -> None:
    """Both numbers are said, and nothing is read of the body."""

    def test(uploads: UploadService) -> None:
        upload = uploads.create(MINE)
        uploads.append(upload.id, 0, body(DATA[:100]))
        for offset in (0, 99, 101):
            late = body(DATA[offset : offset + 10])
            with pytest.raises(WrongOffset) as caught:
                uploads.append(upload.id, offset, late)
            assert (caught.value.expected, caught.value.provided) == (100, offset)
            assert (caught.value.code, late.received) == (409, 0)
        assert uploads.status(upload.id).offset == 100

    quick.run(test)


@pytest.mark.parametrize("arrived", [0, 1, 5000, 70_000])
def test_a_broken_body_keeps_what_came(quick: Bench, arrived: int) -> None:
    """Every byte that arrived is durable and counted."""
    data = DATA * 10

    def test(uploads: UploadService) -> None:
        upload = uploads.create(Creation("me", size=len(data)))
        with pytest.raises(BodyError):
            uploads.append(upload.id, 0, body(data[:arrived], 100_000))
        assert uploads.status(upload.id).offset == arrived
        assert uploads.append(upload.id, arrived, body(data[arrived:])).ready
        assert uploads.open(upload.id).read() == data

    quick.run(test)


def test_long_bodies_are_committed_on_the_way(quick: Bench) -> None:
    """While more arrives: a worker that is killed has lost little."""
    data = bytes(300_000)

    def test(uploads: UploadService) -> None:
        upload = uploads.create(Creation("me", size=len(data)))
        source = ArrivingSource(*(data[at : at + 50_000] for at in range(0, 200_000, 50_000)))
        slow = gevent.spawn(uploads.append, upload.id, 0, CooperativeInput(source, len(data)))
        wait_until(lambda: uploads.status(upload.id).offset >= 130_000)
        slow.kill()

    quick.run(test, upload_commit_bytes=64 * 1024)


def test_slow_bodies_are_committed_on_the_way(quick: Bench) -> None:
    """After a time, too."""

    def test(uploads: UploadService) -> None:
        upload = uploads.create(MINE)
        source = ArrivingSource(*(bytes([byte]) for byte in DATA[:200]))
        receive = source.receive
        source.receive = lambda size: (gevent.sleep(0.002), receive(size))[1]  # type: ignore
        slow = gevent.spawn(uploads.append, upload.id, 0, CooperativeInput(source, len(DATA)))
        wait_until(lambda: uploads.status(upload.id).offset > 20)
        slow.kill()

    quick.run(test, upload_commit_seconds=0.1)


class TestTakingOver:
    """A newer request ends an older one at once."""

    def hang(self, uploads: UploadService, upload: Upload, *pieces: bytes) -> Any:
        """A request that has brought these pieces and waits for a client that has gone."""
        source = ArrivingSource(*pieces)
        hanging = gevent.spawn(
            uploads.append, upload.id, upload.offset, CooperativeInput(source, len(DATA))
        )
        wait_until(lambda: source.waits)
        return hanging

    def test_settle_counts_what_it_had(self, bench: Bench) -> None:
        """Who is about to go on is told of all that has come."""

        def test(uploads: UploadService) -> None:
            upload = uploads.create(MINE)
            hanging = self.hang(uploads, upload, DATA[:100])
            assert uploads.status(upload.id).offset == 0
            began = time.monotonic()
            assert uploads.settle(upload.id).offset == 100
            assert time.monotonic() - began < 5
            with pytest.raises(Superseded):
                hanging.get(timeout=5)
            assert uploads.append(upload.id, 100, body(DATA[100:])).ready
            assert uploads.open(upload.id).read() == DATA

        bench.run(test)

    def test_at_the_same_offset(self, quick: Bench) -> None:
        """What the old one had not committed comes again."""

        def test(uploads: UploadService) -> None:
            upload = uploads.create(MINE)
            hanging = self.hang(uploads, upload, DATA[:100])
            assert uploads.append(upload.id, 0, body(DATA[:50])).offset == 50
            with pytest.raises(Superseded):
                hanging.get(timeout=5)
            assert uploads.status(upload.id).offset == 50
            assert uploads.append(upload.id, 50, body(DATA[50:])).ready
            assert uploads.open(upload.id).read() == DATA

        quick.run(test)

    def test_behind_what_is_committed(self, quick: Bench) -> None:
        """A client that knows what it has sent may be right: the old one commits first."""

        def test(uploads: UploadService) -> None:
            upload = uploads.create(MINE)
            hanging = self.hang(uploads, upload, DATA[:100])
            assert uploads.append(upload.id, 100, body(DATA[100:])).ready
            with pytest.raises(Superseded):
                hanging.get(timeout=5)

        quick.run(test)

    def test_by_a_service_of_another_process(self, bench: Bench) -> None:
        """The holder looks at the row; here both are in one process, and do not know it."""

        def test(uploads: UploadService) -> None:
            upload = uploads.create(MINE)
            hanging = self.hang(uploads, upload, DATA[:100])
            with service(bench.storage, bench.database) as other:
                assert other.append(upload.id, 0, body(DATA[:50])).offset == 50
            with pytest.raises(Superseded):
                hanging.get(timeout=5)
            assert uploads.status(upload.id).offset == 50

        bench.run(test)

    def test_by_a_removal(self, quick: Bench) -> None:
        """Whoever writes stops, and nothing is left."""

        def test(uploads: UploadService) -> None:
            upload = uploads.create(MINE)
            hanging = self.hang(uploads, upload, DATA[:100])
            uploads.cancel(upload.id)
            with pytest.raises((Superseded, UploadGone, NoSuchUpload)):
                hanging.get(timeout=5)
            with pytest.raises(NoSuchUpload):
                uploads.settle(upload.id)

        quick.run(test)
        assert not quick.storage.writings


class TestSizes:
    """What is declared, and what comes."""

    def test_larger_than_declared(self, quick: Bench) -> None:
        """Before a byte is read where it is announced; by counting where it is not."""

        def test(uploads: UploadService) -> None:
            upload = uploads.create(MINE)
            announced = body(DATA + b"more")
            with pytest.raises(LargerThanDeclared) as caught:
                uploads.append(upload.id, 0, announced)
            assert (caught.value.declared, caught.value.provided) == (len(DATA), len(DATA) + 4)
            assert announced.received == 0
            chunked = ArrivingSource(DATA[:10], DATA[10:], b"more")
            with pytest.raises(LargerThanDeclared):
                uploads.append(upload.id, 0, CooperativeInput(chunked))
            assert uploads.settle(upload.id).offset == len(DATA)
            assert uploads.finish(upload.id).ready

        quick.run(test)

    def test_declared_later(self, quick: Bench) -> None:
        """Once; again is harmless."""

        def test(uploads: UploadService) -> None:
            upload = uploads.create(Creation("me", limits=Limits(upload_bytes=len(DATA))))
            uploads.append(upload.id, 0, body(DATA[:10]))
            for wrong in (9, len(DATA) + 1):
                with pytest.raises((InconsistentLength, UploadTooLarge)):
                    uploads.declare_size(upload.id, wrong)
            for _ in range(2):
                assert uploads.declare_size(upload.id, len(DATA)).size == len(DATA)
            with pytest.raises(InconsistentLength):
                uploads.declare_size(upload.id, len(DATA) - 1)
            assert uploads.append(upload.id, 10, body(DATA[10:])).ready

        quick.run(test)

    def test_the_end_is_said(self, quick: Bench) -> None:
        """By the request that has it; the length that was reached says nothing."""

        def test(uploads: UploadService) -> None:
            upload = uploads.create(Creation("me"))
            assert uploads.append(upload.id, 0, body(DATA[:10]), last=False).state is State.OPEN
            assert uploads.append(upload.id, 10, body(DATA[10:]), last=True).ready
            known = uploads.create(MINE)
            assert not uploads.append(known.id, 0, body(DATA), last=False).ready
            assert uploads.append(known.id, len(DATA), body(b""), last=True).ready

        quick.run(test)

    def test_the_end_is_elsewhere(self, quick: Bench) -> None:
        """A last byte that is not the one that was declared."""

        def test(uploads: UploadService) -> None:
            upload = uploads.create(MINE)
            with pytest.raises(InconsistentLength):
                uploads.append(upload.id, 0, body(DATA[:10]), last=True)
            chunked = CooperativeInput(ArrivingSource(DATA[:10], b""))
            with pytest.raises(InconsistentLength):
                uploads.append(upload.id, 0, chunked, last=True)
            assert uploads.status(upload.id).offset == 10

        quick.run(test)

    def test_nothing(self, quick: Bench) -> None:
        """An upload of no bytes is finished by a word, or by an append of nothing."""

        def test(uploads: UploadService) -> None:
            empty = Creation("me", size=0)
            assert uploads.finish(uploads.create(empty).id).ready
            upload = uploads.create(empty)
            assert uploads.append(upload.id, 0, body(b"")).ready
            assert uploads.open(upload.id).read() == b""

        quick.run(test)

    def test_more_than_there_is(self, quick: Bench) -> None:
        """The largest number that a database keeps."""

        def test(uploads: UploadService) -> None:
            assert uploads.create(Creation("me", size=2**63 - 1)).size == 2**63 - 1
            with pytest.raises(UploadTooLarge):
                uploads.create(Creation("me", size=2**63))

        quick.run(test)
