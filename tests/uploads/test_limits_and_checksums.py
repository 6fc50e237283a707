"""What is refused: by limits of an owner, and by checksums."""

from __future__ import annotations

import hashlib

import gevent
import gevent.event
import pytest
from upload_bench import DATA, MINE, Bench
from upload_services import body

from cooperative_upload.errors import BodyError
from cooperative_upload.uploads import (
    ChecksumMismatch,
    Creation,
    Limits,
    MetadataTooLarge,
    QuotaExceeded,
    TypeRefused,
    UnknownChecksum,
    UploadService,
    UploadTooLarge,
)


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
