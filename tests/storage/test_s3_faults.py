"""What goes wrong between S3Storage and its store: tried again, or told, and nothing is left."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from breaking_proxy import BreakingProxy, Fault
from greenlets import DEADLINE, in_greenlet
from s3_servers import S3Server
from spools import content

from cooperative_upload.errors import (
    AlreadyStored,
    NotStored,
    RequestError,
    StorageError,
    StorageRefused,
    StorageUnavailable,
    StoredDiffers,
)
from cooperative_upload.settings import UploadSettings
from cooperative_upload.storage.parts import MIB
from cooperative_upload.storage.s3 import S3Storage

PART = 5 * MIB
DATA = content(2 * PART + 1000)

_numbers = itertools.count()


class Broken:
    """A bucket, a storage in it by way of a proxy, and one that goes straight there."""

    def __init__(self, server: S3Server, proxy: BreakingProxy, **settings: Any) -> None:
        self.proxy = proxy
        self.bucket = f"faults-{os.getpid()}-{next(_numbers)}"
        self.straight = S3Storage(self.bucket, part_bytes=PART, **server.options)
        self.straight._calls.client.create_bucket(Bucket=self.bucket)
        options = {**server.options, "endpoint_url": proxy.url}
        kept = UploadSettings(**{"storage_retry_seconds": 20.0, **settings})
        self.storage = S3Storage(self.bucket, part_bytes=PART, settings=kept, **options)

    def content(self, key: str) -> bytes:
        with self.straight.open(key) as stored:
            return stored.read()

    def remains(self) -> list[str]:
        client = self.straight._calls.client
        uploads = client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", ())
        objects = client.list_objects_v2(Bucket=self.bucket).get("Contents", ())
        return [upload["Key"] for upload in uploads] + [entry["Key"] for entry in objects]

    def check_nothing_is_left(self) -> None:
        with contextlib.suppress(gevent.Timeout), gevent.Timeout(DEADLINE):
            while self.remains():
                gevent.sleep(0.01)
        assert self.remains() == []


@pytest.fixture
def broken(seaweed: S3Server) -> Iterator[Broken]:
    with BreakingProxy(seaweed.endpoint) as proxy:
        yield Broken(seaweed, proxy)


@pytest.fixture
def impatient(seaweed: S3Server) -> Iterator[Broken]:
    """Tries nothing for long."""
    with BreakingProxy(seaweed.endpoint) as proxy:
        yield Broken(seaweed, proxy, storage_retry_seconds=0.3)


def deposit(storage: S3Storage, data: bytes, **more: Any) -> Any:
    with storage.deposit("key") as made:
        for start in range(0, len(data), 500_000):
            made.write(data[start : start + 500_000])
        return made.commit(**more)


def first(times: int, fault: Fault, wanted: Callable[[str, str], bool]) -> Any:
    """The first requests of a kind fail so."""
    met: list[str] = []

    def choose(method: str, target: str) -> Fault | None:
        if not wanted(method, target) or len(met) >= times:
            return None
        met.append(target)
        return fault

    return choose


def always(fault: Fault, wanted: Callable[[str, str], bool]) -> Any:
    """All requests of a kind fail so."""
    return lambda method, target: fault if wanted(method, target) else None


def xml(code: str, message: str = "Some words.") -> bytes:
    return (
        f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code>"
        f"<Message>{message}</Message></Error>"
    ).encode()


def answer(status: int, code: str, **headers: str) -> Fault:
    return Fault(answer=(status, xml(code), {"Content-Type": "application/xml", **headers}))


def is_part(method: str, target: str) -> bool:
    return method == "PUT" and "partNumber=2" in target


def is_whole(method: str, target: str) -> bool:
    return method == "PUT" and "partNumber" not in target


def is_put(method: str, target: str) -> bool:
    return method == "PUT"


def is_get(method: str, target: str) -> bool:
    return method == "GET"


def is_complete(method: str, target: str) -> bool:
    return method == "POST" and "uploadId=" in target


@pytest.mark.parametrize("wanted", [is_part, is_complete], ids=["a part", "the completion"])
@pytest.mark.parametrize(
    "fault",
    [
        answer(503, "SlowDown"),
        answer(500, "InternalError"),
        Fault(answer=(502, b"<html>no gateway", {})),
        Fault(reset_after=100),
        Fault(swallow=True),
        Fault(half_answer=0),
    ],
    ids=["throttled", "broken", "proxy", "reset", "swallowed", "cut"],
)
def test_what_passes_is_not_seen(
    broken: Broken, fault: Fault, wanted: Callable[[str, str], bool]
) -> None:
    """A part, or the completion, fails twice, and once the store had done it all the same."""
    with broken.proxy.breaking(first(2, fault, wanted)):
        stored = in_greenlet(lambda: deposit(broken.storage, DATA))
    assert stored.size == len(DATA)
    assert broken.content("key") == DATA
    assert broken.remains() == ["key"]


def test_a_completion_that_fails_in_the_body_of_a_200(broken: Broken) -> None:
    """S3 begins its answer before it knows how that ends."""
    fault = answer(200, "InternalError")
    with broken.proxy.breaking(first(2, fault, is_complete)):
        in_greenlet(lambda: deposit(broken.storage, DATA))
    assert broken.content("key") == DATA


@pytest.mark.parametrize("fault", [answer(503, "SlowDown"), Fault(swallow=True)])
def test_a_small_object(broken: Broken, fault: Fault) -> None:
    """Made by a try whose answer was lost, it is taken for what it is, and another's is not."""
    with broken.proxy.breaking(first(1, fault, is_whole)):
        in_greenlet(lambda: deposit(broken.storage, b"small"))
        assert broken.content("key") == b"small"
    with broken.proxy.breaking(first(1, fault, is_whole)), pytest.raises(AlreadyStored):
        in_greenlet(lambda: deposit(broken.storage, b"other"))
    assert broken.content("key") == b"small"


def test_a_completion_whose_answers_were_all_lost_can_be_asked_for_again(
    impatient: Broken,
) -> None:
    storage = impatient.storage
    token = storage.begin("key", size=len(DATA))
    with storage.writer(token, 0) as writer:
        writer.write(DATA)
        writer.finish()
    lost = always(Fault(swallow=True), is_complete)
    with impatient.proxy.breaking(lost), contextlib.suppress(StorageUnavailable):
        storage.commit(token, len(DATA))
    stored = storage.commit(token, len(DATA))
    assert storage.commit(token, len(DATA)) == stored
    assert impatient.content("key") == DATA


def test_another_s_object_is_not_taken_for_the_commit_of_a_writing(broken: Broken) -> None:
    token = broken.storage.begin("key", size=3)
    with broken.storage.writer(token, 0) as writer:
        writer.write(b"one")
        writer.finish()
    broken.storage.commit(token, 3)
    deposit(broken.straight, b"two", overwrite=True)
    with pytest.raises(NotStored):
        broken.storage.commit(token, 3)


@pytest.mark.parametrize("data", [b"small", DATA], ids=["small", "parts"])
def test_a_store_that_stays_throttled_is_a_503(impatient: Broken, data: bytes) -> None:
    with (
        impatient.proxy.breaking(always(answer(503, "SlowDown"), is_put)),
        pytest.raises(StorageUnavailable) as caught,
    ):
        in_greenlet(lambda: deposit(impatient.storage, data))
    response = caught.value.get_response()
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "10"
    assert "SlowDown" in str(caught.value)
    assert "SlowDown" not in response.get_data(as_text=True)
    impatient.check_nothing_is_left()


@pytest.mark.parametrize(
    ("status", "code", "expected", "http"),
    [
        (400, "ExpiredToken", StorageRefused, 500),
        (403, "AccessDenied", StorageRefused, 500),
        (404, "NoSuchBucket", StorageRefused, 500),
        (403, "QuotaExceeded", StorageError, 507),
        (507, "XMinioStorageFull", StorageError, 507),
        (400, "EntityTooLarge", StorageError, 413),
        (301, "PermanentRedirect", StorageRefused, 500),
        (501, "NotImplemented", StorageRefused, 500),
    ],
)
def test_what_does_not_pass_is_told_at_once(
    broken: Broken, status: int, code: str, expected: type[StorageError], http: int
) -> None:
    with (
        broken.proxy.breaking(always(answer(status, code), is_part)),
        pytest.raises(expected) as caught,
    ):
        in_greenlet(lambda: deposit(broken.storage, DATA))
    assert caught.value.code == http
    assert code in str(caught.value)
    assert len([request for request in broken.proxy.seen if is_part(*request)]) == 1
    broken.check_nothing_is_left()


def test_a_bucket_that_is_not_there(seaweed: S3Server) -> None:
    storage = S3Storage("missing", part_bytes=PART, **seaweed.options)
    for data in (b"small", DATA):
        with pytest.raises(StorageRefused, match="NoSuchBucket"):
            in_greenlet(functools.partial(deposit, storage, data))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"aws_access_key_id": "nobody"}, "InvalidAccessKeyId"),
        ({"aws_secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
    ],
)
def test_wrong_credentials(broken: Broken, seaweed: S3Server, wrong: Any, words: str) -> None:
    storage = S3Storage(broken.bucket, **{**seaweed.options, **wrong})
    with pytest.raises(StorageRefused, match=words):
        deposit(storage, b"small")


def test_no_credentials(seaweed: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    storage = S3Storage("bucket", endpoint_url=seaweed.endpoint, region="us-east-1")
    with pytest.raises(StorageRefused, match="credentials"):
        deposit(storage, b"small")


def test_nobody_listens(impatient: Broken, seaweed: S3Server) -> None:
    options = {**seaweed.options, "endpoint_url": "http://127.0.0.1:1"}
    settings = UploadSettings(storage_retry_seconds=0.3)
    storage = S3Storage("bucket", settings=settings, **options)
    with pytest.raises(StorageUnavailable, match=r"127\.0\.0\.1:1"):
        in_greenlet(lambda: deposit(storage, b"small"))


def test_a_store_that_hangs(impatient: Broken) -> None:
    """Within the time without a byte, which is five seconds at least."""
    hanging = always(Fault(hangs=True), is_whole)
    with impatient.proxy.breaking(hanging), pytest.raises(StorageUnavailable):
        in_greenlet(lambda: deposit(impatient.storage, b"small"))


def test_what_is_damaged_on_its_way_is_found(broken: Broken) -> None:
    damage = always(Fault(damage=True), is_put)
    for data in (b"small", DATA):
        with broken.proxy.breaking(damage), pytest.raises(StoredDiffers):
            in_greenlet(functools.partial(deposit, broken.storage, data))
    broken.check_nothing_is_left()


@pytest.mark.parametrize("fault", [Fault(half_answer=3_000_000), Fault(half_answer=10)])
def test_a_download_that_breaks_goes_on_from_where_it_broke(broken: Broken, fault: Fault) -> None:
    deposit(broken.straight, DATA)
    faults = first(2, fault, is_get)
    with broken.proxy.breaking(faults), broken.storage.open("key", 1000) as stored:
        assert in_greenlet(stored.read) == DATA[1000:]
    asked = [request for request in broken.proxy.seen if request[0] == "GET"]
    assert len(asked) == 3


def test_a_download_of_another_version_is_never_joined(broken: Broken) -> None:
    deposit(broken.straight, DATA)
    fault = first(1, Fault(half_answer=1_000_000), is_get)
    with broken.proxy.breaking(fault), broken.storage.open("key") as stored:
        start = stored.read(500_000)
        assert start == DATA[:500_000]
        deposit(broken.straight, bytes(len(DATA)), overwrite=True)
        with pytest.raises(RequestError):
            stored.read()


def test_a_writer_that_is_cut_goes_on_by_what_is_durable(impatient: Broken) -> None:
    storage = impatient.storage
    token = storage.begin("key", size=len(DATA))
    with (
        impatient.proxy.breaking(always(Fault(reset_after=3000), is_part)),
        storage.writer(token, 0) as writer,
        pytest.raises(StorageUnavailable),
    ):
        in_greenlet(lambda: (writer.write(DATA), writer.finish()))
    durable = storage.durable(token)
    for start, stop in durable.missing(len(DATA)):
        with storage.writer(token, start) as writer:
            writer.write(DATA[start:stop])
            writer.finish()
    storage.commit(token, len(DATA))
    assert impatient.content("key") == DATA
