"""S3Storage as it is set up: by a URL, by boto3's chain; what it signs; how it composes parts."""

from __future__ import annotations

import collections
import functools
import itertools
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from breaking_proxy import BreakingProxy
from greenlets import in_greenlet
from s3_servers import S3Server
from spools import content

from cooperative_upload.errors import FileTooLarge, SettingsError
from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool import Budget
from cooperative_upload.storage import Storage, storage_for, transfers
from cooperative_upload.storage.parts import MIB, TIB
from cooperative_upload.storage.s3 import S3Storage

PART = 5 * MIB

_numbers = itertools.count()


@pytest.fixture
def bucket(seaweed: S3Server) -> str:
    name = f"settings-{os.getpid()}-{next(_numbers)}"
    S3Storage(name, **seaweed.options)._calls.client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def proxy(seaweed: S3Server) -> Iterator[BreakingProxy]:
    with BreakingProxy(seaweed.endpoint) as made:
        yield made


def put(storage: Storage, data: bytes) -> None:
    with storage.deposit("key") as deposit:
        deposit.write(data)
        deposit.commit()


def test_by_its_url_and_the_environment(
    seaweed: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in seaweed.variables.items():
        monkeypatch.setenv(name, value)
    put(storage_for(f"s3://{bucket}/some%20folder"), b"content")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    whole = storage_for(f"s3://{bucket}?endpoint_url={seaweed.endpoint}&region=us-east-1")
    assert [stored.key for stored in whole.list()] == ["some folder/key"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://", "expected s3://bucket/prefix"),
        ("s3:///key", "expected s3://bucket/prefix"),
        ("s3://bucket#x", "expected s3://bucket/prefix"),
        ("s3://bucket?endpoint=x", "unknown 'endpoint'"),
    ],
)
def test_a_url_that_makes_no_sense(url: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        storage_for(url)


def test_signed_urls(seaweed: S3Server, bucket: str) -> None:
    """One thing for who has it, and no other; a PUT in the words that were signed."""
    storage = S3Storage(bucket, **seaweed.options)
    headers = {"Content-Type": "text/x-test", "X-Amz-Meta-Name": "value"}
    to_put = storage.sign("a key", "PUT", headers=headers)

    def ask(url: str, method: str, body: bytes | None = None, **more: str) -> tuple[int, bytes]:
        request = urllib.request.Request(url, body, more, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    assert ask(to_put, "PUT", b"body", **{"Content-Type": "text/other"})[0] == 403
    assert ask(to_put, "PUT", b"body", **headers)[0] == 200
    assert storage.stat("a key").content_type == "text/x-test"
    assert storage.stat("a key").metadata == {"name": "value"}
    assert ask(storage.sign("a key"), "GET") == (200, b"body")
    assert ask(storage.sign("a key"), "DELETE")[0] == 403
    with pytest.raises(ValueError, match="'X-Other'"):
        storage.sign("a key", "PUT", headers={"X-Other": "x"})


def test_an_object_that_is_larger_than_any() -> None:
    storage = S3Storage("bucket", region="us-east-1", part_bytes=PART, equal_parts=True)
    with pytest.raises(FileTooLarge) as caught:
        storage.begin("key", size=49 * TIB)
    assert caught.value.code == 413


def asked_of(proxy: BreakingProxy) -> collections.Counter[str]:
    """What the store was asked for, by kinds."""
    kinds: collections.Counter[str] = collections.Counter()
    for method, target in proxy.seen:
        part = "part" if "partNumber" in target else ""
        staged = "piece" if "cooperative-upload" in target.split("?")[0] else ""
        kinds[" ".join(filter(None, (method, part, staged)))] += 1
    return kinds


def test_whole_parts_go_as_they_are(seaweed: S3Server, bucket: str, proxy: BreakingProxy) -> None:
    """Nothing is stored beside, and again is harmless."""
    options = {**seaweed.options, "endpoint_url": proxy.url}
    storage = S3Storage(bucket, part_bytes=PART, **options)
    data = content(2 * PART + 100)
    token = storage.begin("key", size=len(data))
    for _ in range(2):
        with storage.writer(token, PART) as writer:
            writer.write(data[PART:])
            writer.finish()
    asked = asked_of(proxy)
    assert asked["PUT part"] == 4
    assert not asked["PUT piece"]
    storage.abort(token)


def test_a_piece_that_is_the_whole_last_part_is_copied_by_the_store(
    seaweed: S3Server, bucket: str, proxy: BreakingProxy
) -> None:
    """Of a size that nobody knew before the commit."""
    options = {**seaweed.options, "endpoint_url": proxy.url}
    storage = S3Storage(bucket, part_bytes=PART, **options)
    data = content(PART + 100)
    token = storage.begin("key")
    with storage.writer(token, 0) as writer:
        writer.write(data)
        writer.finish()
    storage.commit(token, len(data))
    asked = asked_of(proxy)
    assert asked["PUT piece"] == 1
    assert not asked["GET piece"]  # read back by nobody here
    assert [stored.size for stored in storage.list()] == [len(data)]
    with storage.open("key") as stored:
        assert stored.read() == data


def test_what_is_read_back_stays_within_the_memory(
    seaweed: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = Budget(300_000)
    monkeypatch.setattr(transfers, "_memory_of_process", budget)
    storage = S3Storage(bucket, part_bytes=PART, settings=UploadSettings(), **seaweed.options)
    data = content(PART)
    token = storage.begin("key", size=PART)

    def write(start: int, stop: int) -> Any:
        with storage.writer(token, start) as writer:
            writer.write(data[start:stop])
            return writer.finish()

    for start, stop in [(3_000_000, PART), (0, 1_000_000), (900_000, 3_100_000)]:
        in_greenlet(functools.partial(write, start, stop))
    assert storage.durable(token).cover(0, PART)
    storage.commit(token, PART)
    with storage.open("key") as stored:
        assert stored.read() == data
    assert budget.taken == 0
