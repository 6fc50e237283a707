"""What is counted of uploads that outlive their requests."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from memory_storage import MemoryStorage

from cooperative_upload import CooperativeInput, upload_statistics
from cooperative_upload.uploads import Creation, Hooks, RefusedUpload, Upload, UploadService


def body(data: bytes) -> CooperativeInput:
    return CooperativeInput(io.BytesIO(data), len(data))


@contextmanager
def counting(**expected: int) -> Iterator[None]:
    """The block adds so much, and to no other number of uploads."""
    before = upload_statistics()
    yield
    now = upload_statistics()
    names = [name for name in now if name.startswith(("uploads_", "leases_")) or "again" in name]
    assert {name: now[name] - before[name] for name in names if now[name] != before[name]} == (
        expected
    )


@pytest.fixture
def service(sqlite: str) -> Iterator[UploadService]:
    def check(upload: Upload, _: object) -> None:
        if upload.name == "virus":
            raise RefusedUpload("It has a virus.")

    service = UploadService(MemoryStorage(), sqlite, hooks=Hooks(received=check))
    yield service
    service.close()


def test_the_way_of_an_upload(service: UploadService) -> None:
    with counting(uploads_created=1):
        upload = service.create(Creation(owner="", size=4))
    with counting():
        service.append(upload.id, 0, body(b"01"))
    with counting(uploads_resumed=1, uploads_ready=1):
        service.append(upload.id, 2, body(b"23"))
    with counting(uploads_expired=1):
        service.cancel(upload.id)


def test_an_upload_that_is_refused(service: UploadService) -> None:
    upload = service.create(Creation(owner="", size=2, name="virus"))
    with counting(uploads_refused=1), pytest.raises(RefusedUpload):
        service.append(upload.id, 0, body(b"01"))


def test_bytes_that_come_twice(service: UploadService) -> None:
    """Those of a chunk that were there before."""
    upload = service.create(Creation(owner="", size=10))
    with counting():
        service.write(upload.id, 2, body(b"2345"))
    with counting(bytes_again=3):
        service.write(upload.id, 3, body(b"34567"))


def test_a_creation_that_finds_what_is_there(service: UploadService) -> None:
    creation = Creation(owner="", size=1, alias="mine")
    with counting(uploads_created=1):
        service.create(creation)
        service.create(creation)


def test_an_upload_of_parts(service: UploadService) -> None:
    """It is begun and ready in one step."""
    part = service.create(Creation(owner="", size=1, partial=True))
    service.append(part.id, 0, body(b"0"))
    with counting(uploads_created=1, uploads_ready=1):
        service.concatenate(Creation(owner=""), [part.id])
