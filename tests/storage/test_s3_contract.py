"""S3Storage keeps the contract: on moto with parts of a few KiB, on SeaweedFS with S3's own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
from s3_servers import S3Server, moto_server
from storage_contract import (
    CrashContract,
    DepositContract,
    ObjectContract,
    Place,
    Run,
    WritingContract,
    put,
)

from cooperative_upload.storage import Storage
from cooperative_upload.storage.parts import MIB, PartLimits
from cooperative_upload.storage.s3 import S3Storage

_numbers = itertools.count()


class SmallParts(S3Storage):
    """For a store that takes parts of any size."""

    limits = PartLimits(smallest=1, largest=1 << 30, most=10_000, object_bytes=1 << 40)


class S3Place(Place):
    """A bucket of its own."""

    # Each call of the store, and a piece that is half read.
    primitives = ("botocore.client.BaseClient._make_api_call",)
    can_sign = True

    def __init__(self, server: S3Server, kind: type[S3Storage], part_size: int) -> None:
        self._server = server
        self._kind = kind
        self.part_size = part_size
        self.bucket = f"bucket-{os.getpid()}-{next(_numbers)}"
        self._own = self.storage()
        self._own._calls.client.create_bucket(Bucket=self.bucket)

    def storage(self) -> S3Storage:
        return self._kind(
            self.bucket, "below/this", part_bytes=self.part_size, **self._server.options
        )

    def remains(self) -> list[str]:
        client = self._own._calls.client
        uploads = client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", ())
        objects = client.list_objects_v2(Bucket=self.bucket).get("Contents", ())
        staged = [entry["Key"] for entry in objects if ".cooperative-upload/" in entry["Key"]]
        return [upload["Key"] for upload in uploads] + staged


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with moto_server() as server:
        yield server


class _OnMoto:
    @pytest.fixture
    def place(self, moto: S3Server) -> Place:
        return S3Place(moto, SmallParts, 4096)


class _OnSeaweedFS:
    @pytest.fixture
    def place(self, seaweed: S3Server) -> Place:
        return S3Place(seaweed, S3Storage, 5 * MIB)


class TestDepositsOnMoto(_OnMoto, DepositContract):
    pass


class TestWritingsOnMoto(_OnMoto, WritingContract):
    pass


class TestObjectsOnMoto(_OnMoto, ObjectContract):
    pass


class TestCrashesOnMoto(_OnMoto, CrashContract):
    pass


class TestObjectsOnSeaweedFS(_OnSeaweedFS, ObjectContract):
    def test_list(self, storage: Storage, run: Run) -> None:
        """All of them; but SeaweedFS 4.48 lists folder by folder where S3 goes by the keys."""
        keys = {"a-b", "b/c/d", "b/c.d", "b/ü"}

        def test() -> None:
            for key in keys:
                put(storage, key, b"x")
            assert {one.key for one in storage.list()} == keys
            assert {one.key for one in storage.list("b/c")} == {"b/c/d", "b/c.d"}

        run(test)
