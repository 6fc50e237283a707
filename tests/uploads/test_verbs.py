"""What a protocol can rely on: each verb, on each database, with a storage in memory."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any, TypeVar

import gevent
import gevent.event
import pytest
from greenlets import in_greenlet, wait_until
from memory_storage import MemoryStorage
from upload_services import NO_HOOKS, ArrivingSource, body, in_pieces, service

from cooperative_upload.body import CooperativeInput
from cooperative_upload.errors import BodyError, StorageUnavailable
from cooperative_upload.uploads import (
    Answer,
    ChecksumMismatch,
    Creation,
    Hooks,
    InconsistentLength,
    LargerThanDeclared,
    Limits,
    MetadataTooLarge,
    NoSuchUpload,
    NotAppendable,
    NotConcatenable,
    NotReadyYet,
    QuotaExceeded,
    RefusedUpload,
    State,
    Superseded,
    TypeRefused,
    UnknownChecksum,
    Upload,
    UploadGone,
    UploadService,
    UploadTooLarge,
    WrongOffset,
)

T = TypeVar("T")

DATA = bytes(range(256)) * 40
MINE = Creation("me", size=len(DATA), name="film.mp4", content_type="video/mp4")


class Bench:
    """A service on a database, and how to run a test with it."""

    def __init__(self, storage: MemoryStorage, database: str) -> None:
        self.storage = storage
        self.database = database

    def run(
        self, test: Callable[[UploadService], T], hooks: Hooks = NO_HOOKS, **settings: Any
    ) -> T:
        """What the test returns in a greenlet."""

        def run() -> T:
            with service(self.storage, self.database, hooks, **settings) as uploads:
                return test(uploads)

        return in_greenlet(run)


@pytest.fixture
def bench(storage: MemoryStorage, database: str) -> Bench:
    """On each database."""
    return Bench(storage, database)


@pytest.fixture
def quick(storage: MemoryStorage, sqlite: str) -> Bench:
    """On SQLite alone, for what the database has no part in."""
    return Bench(storage, sqlite)


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


class TestLimits:
    """What an owner may have, before a byte is stored."""

    def test_of_one_upload(self, quick: Bench) -> None:
        """Both numbers are said; one of unknown size is counted."""
        limits = Limits(upload_bytes=100)

        def test(uploads: UploadService) -> None:
            with pytest.raises(UploadTooLarge) as caught:
                uploads.create(Creation("me", size=101, limits=limits))
            assert (caught.value.limit, caught.value.size) == (100, 101)
            upload = uploads.create(Creation("me", limits=limits))
            with pytest.raises(UploadTooLarge):
                uploads.append(upload.id, 0, body(DATA))
            assert uploads.append(upload.id, 0, body(DATA[:100]), last=True).ready

        quick.run(test)
        assert len(quick.storage.objects) == 1
        assert not quick.storage.writings

    def test_of_types(self, quick: Bench) -> None:
        """Whole ones and families; parameters do not count."""
        limits = Limits(types=("image/*", "application/pdf"))

        def test(uploads: UploadService) -> None:
            for good in ("image/png", "application/PDF; v=1"):
                uploads.create(Creation("me", content_type=good, limits=limits))
            for bad in ("application/pdfx", "image/", "text/html", None):
                with pytest.raises(TypeRefused):
                    uploads.create(Creation("me", content_type=bad, limits=limits))

        quick.run(test)

    def test_of_all_bytes(self, bench: Bench) -> None:
        """Declared sizes are reserved, and are free again when the upload is gone."""
        limits = Limits(owner_bytes=1000)

        def test(uploads: UploadService) -> None:
            first = uploads.create(Creation("me", size=600, limits=limits))
            with pytest.raises(QuotaExceeded) as caught:
                uploads.create(Creation("me", size=401, limits=limits))
            assert (caught.value.limit, caught.value.wanted) == (1000, 1001)
            uploads.create(Creation("somebody else", size=401, limits=limits))
            uploads.create(Creation("me", size=400, limits=limits))
            uploads.cancel(first.id)
            uploads.create(Creation("me", size=600, limits=limits))

        bench.run(test)
        assert len(bench.storage.writings) == 3

    def test_of_bytes_as_they_come(self, bench: Bench) -> None:
        """Those of unknown size count with what has come."""
        limits = Limits(owner_bytes=1000)

        def test(uploads: UploadService) -> None:
            upload = uploads.create(Creation("me", limits=limits))
            uploads.append(upload.id, 0, body(bytes(900)))
            with pytest.raises(QuotaExceeded):
                uploads.create(Creation("me", size=101, limits=limits))
            with pytest.raises(QuotaExceeded):
                uploads.append(upload.id, 900, body(bytes(101)))
            assert uploads.append(upload.id, 900, body(bytes(100)), last=True).ready

        bench.run(test)

    def test_of_their_number(self, quick: Bench) -> None:
        """Refused ones do not count."""
        limits = Limits(owner_uploads=2)
        creation = Creation("me", size=1, limits=limits)

        def test(uploads: UploadService) -> None:
            first, _ = uploads.create(creation), uploads.create(creation)
            with pytest.raises(QuotaExceeded):
                uploads.create(creation)
            uploads.delete(first.id)
            uploads.create(creation)

        quick.run(test)

    def test_many_at_once(self, bench: Bench) -> None:
        """As many as fit, whoever is first."""
        creation = Creation("me", size=100, limits=Limits(owner_bytes=1000))

        def test(uploads: UploadService) -> None:
            def create() -> bool:
                try:
                    uploads.create(creation)
                except QuotaExceeded:
                    return False
                return True

            created = [gevent.spawn(create) for _ in range(30)]
            assert sum(one.get(timeout=20) for one in created) == 10

        bench.run(test)
        assert len(bench.storage.writings) == 10

    def test_of_metadata(self, quick: Bench) -> None:
        """A row is no place for a megabyte."""

        def test(uploads: UploadService) -> None:
            with pytest.raises(MetadataTooLarge):
                uploads.create(Creation("me", metadata={"a": "x" * 2**20}))

        quick.run(test)


class TestChecksums:
    """Of the bytes of one request."""

    def test_right_and_wrong(self, quick: Bench) -> None:
        """What does not add up is not kept, and the upload goes on where it was."""

        def test(uploads: UploadService) -> None:
            upload = uploads.create(MINE)
            uploads.append(upload.id, 0, body(DATA[:10]))
            right = ("sha", hashlib.sha1(DATA[10:5000]).digest())
            with pytest.raises(ChecksumMismatch) as caught:
                uploads.append(upload.id, 10, body(DATA[11:5001]), checksum=right)
            assert caught.value.code == 460
            assert uploads.status(upload.id).offset == 10
            assert uploads.append(upload.id, 10, body(DATA[10:5000]), checksum=right).offset
            rest = DATA[5000:]
            trailer = ("sha-256", hashlib.sha256(rest).digest())
            assert uploads.append(upload.id, 5000, body(rest), checksum=lambda: trailer).ready
            assert uploads.open(upload.id).read() == DATA

        quick.run(test)

    def test_of_a_broken_body(self, quick: Bench) -> None:
        """Nothing can be said of a part, so nothing is kept."""

        def test(uploads: UploadService) -> None:
            upload = uploads.create(MINE)
            with pytest.raises(BodyError):
                uploads.append(upload.id, 0, body(DATA[:10], 20), checksum=("sha", b""))
            assert uploads.settle(upload.id).offset == 0

        quick.run(test)

    def test_unknown(self, quick: Bench) -> None:
        """Said before the body is read."""

        def test(uploads: UploadService) -> None:
            upload, whole = uploads.create(MINE), body(DATA)
            with pytest.raises(UnknownChecksum):
                uploads.append(upload.id, 0, whole, checksum=("unixsum", b""))
            assert whole.received == 0

        quick.run(test)


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


class TestFinding:
    """What is there."""

    def test_ids_that_are_none(self, bench: Bench) -> None:
        """Guessed, of another form, of somebody else: there is no such upload."""

        def test(uploads: UploadService) -> None:
            mine = uploads.create(MINE)
            for id in ("", "x", "A" * 24, mine.id + "\n", mine.id[:-1] + "\0", "../" + mine.id):
                with pytest.raises(NoSuchUpload):
                    uploads.status(id)
            for verb in (uploads.status, uploads.settle, uploads.finish, uploads.cancel):
                with pytest.raises(NoSuchUpload):
                    verb(mine.id, owner="somebody else")
            with pytest.raises(NoSuchUpload):
                uploads.append(mine.id, 0, body(b"x"), owner="somebody else")
            assert uploads.status(mine.id, owner="me") == mine

        bench.run(test)

    def test_pages_of_an_owner(self, bench: Bench) -> None:
        """Newest first, each once, those of the wanted states alone."""

        def test(uploads: UploadService) -> None:
            ids = [uploads.create(Creation("me", size=0)).id for _ in range(7)]
            uploads.create(Creation("somebody else", size=0))
            uploads.create(Creation("me", size=0, partial=True))
            for id in ids[:5]:
                uploads.finish(id)
            found, after = [], None
            while True:
                page = uploads.of_owner("me", after=after, most=2)
                found += [upload.id for upload in page.uploads]
                after = page.next
                if after is None:
                    break
            assert found == ids[4::-1]
            still_open = uploads.of_owner("me", states=[State.OPEN])
            assert [upload.id for upload in still_open.uploads] == ids[:4:-1]

        bench.run(test)

    def test_aliases(self, bench: Bench) -> None:
        """A client's own id finds its upload, of that owner alone, until it is forgotten."""
        creation = Creation("me", size=1, alias="10-film.mp4")

        def test(uploads: UploadService) -> None:
            creates = [gevent.spawn(uploads.create, creation) for _ in range(5)]
            (id,) = {create.get(timeout=20).id for create in creates}
            found = uploads.find("me", "10-film.mp4")
            assert found is not None
            assert found.id == id
            assert uploads.find("somebody else", "10-film.mp4") is None
            uploads.forget_alias(id)
            assert uploads.find("me", "10-film.mp4") is None
            assert uploads.create(creation).id != id

        bench.run(test)
        assert len(bench.storage.writings) == 2
