"""storage.object() as a target for bodies, parts and files."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from disk import open_files
from greenlets import hub_writer, in_greenlet, wait_until
from streamed import content_digest, form
from werkzeug.datastructures import FileStorage, Headers

from cooperative_upload import receive, save_to, stream_parts
from cooperative_upload.errors import (
    AlreadyStored,
    DigestMismatch,
    IncompleteBody,
    StoredDiffers,
)
from cooperative_upload.settings import UploadSettings
from cooperative_upload.storage import Description, LocalStorage, ObjectAddress, Stored

DATA = bytes(range(256)) * 400
SETTINGS = UploadSettings(spool_memory_bytes=1000, spool_batch_bytes=4096)


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    root = tmp_path / "root"
    root.mkdir()
    return LocalStorage(root, SETTINGS)


def environ(data: bytes, **more: Any) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "PUT",
        "wsgi.input": io.BytesIO(data),
        "CONTENT_LENGTH": str(len(data)),
        **more,
    }


def stored(storage: LocalStorage) -> dict[str, bytes]:
    found = {}
    for one in storage.list():
        with storage.open(one.key) as content:
            found[one.key] = content.read()
    return found


def nothing_is_open(storage: LocalStorage, root: Path) -> None:
    wait_until(lambda: open_files(root) == 0)


def test_a_body(storage: LocalStorage) -> None:
    """With its type, its size and its digests."""
    request = environ(DATA, CONTENT_TYPE="image/png")

    def test() -> None:
        received = receive(request, storage.object("a/b"), digests=["sha-256"])
        found = storage.stat("a/b")
        assert (received.path, received.size, received.etag) == ("a/b", len(DATA), found.etag)
        assert received.digests == {"sha-256": hashlib.sha256(DATA).digest()}
        assert found.content_type == "image/png"
        assert stored(storage) == {"a/b": DATA}

    with hub_writer():
        in_greenlet(test)


def test_the_description_goes_before_what_the_client_says(storage: LocalStorage) -> None:
    description = Description("text/plain", {"who": "Zoë"})
    request = environ(b"x", CONTENT_TYPE="text/html")
    receive(request, storage.object("name", description=description))
    found = storage.stat("name")
    assert (found.content_type, found.metadata) == ("text/plain", {"who": "Zoë"})


def test_what_curl_calls_everything_is_no_type(storage: LocalStorage) -> None:
    request = environ(b"x", CONTENT_TYPE="application/x-www-form-urlencoded")
    receive(request, storage.object("name"))
    assert storage.stat("name").content_type is None


def test_one_that_is_there_is_refused_before_a_byte_is_read(storage: LocalStorage) -> None:
    receive(environ(b"old"), storage.object("name"))
    request = environ(DATA)
    with pytest.raises(AlreadyStored):
        receive(request, storage.object("name"))
    assert request["wsgi.input"].read() == DATA
    receive(environ(b"new"), storage.object("name", overwrite=True))
    assert stored(storage) == {"name": b"new"}


def test_nothing_is_left_of_what_breaks_off(storage: LocalStorage, tmp_path: Path) -> None:
    """And of what is not what the client announced."""
    request = environ(DATA, CONTENT_LENGTH=str(len(DATA) + 1))
    with pytest.raises(IncompleteBody):
        receive(request, storage.object("name"))
    wrong = content_digest(hashlib.sha256(b"other").digest())
    with pytest.raises(DigestMismatch):
        receive(environ(DATA, HTTP_CONTENT_DIGEST=wrong), storage.object("name"))
    assert stored(storage) == {}
    nothing_is_open(storage, tmp_path)


def test_parts(storage: LocalStorage) -> None:
    body = form(("title", None, b"text"), ("file", "a.bin", DATA), ("file", "b.bin", b"b"))
    request = environ(body, CONTENT_TYPE="multipart/form-data; boundary=boundary")
    received = [
        part.save_to(storage.object(f"parts/{part.filename}"))
        for part in stream_parts(request)
        if part.filename
    ]
    assert [one.path for one in received] == ["parts/a.bin", "parts/b.bin"]
    assert stored(storage) == {"parts/a.bin": DATA, "parts/b.bin": b"b"}


def test_a_file_of_a_parsed_form(storage: LocalStorage, tmp_path: Path) -> None:
    """From its position on, to an object and to a path."""
    headers = Headers({"Content-Type": "image/gif"})
    file = FileStorage(io.BytesIO(DATA), "name", headers=headers)
    file.seek(7)
    received = save_to(file, storage.object("name"), digests=["md5"])
    assert received.digests["md5"] == hashlib.md5(DATA[7:]).digest()
    assert storage.stat("name").content_type == "image/gif"
    file.seek(0)
    assert save_to(file, tmp_path / "path").path == str(tmp_path / "path")
    assert (tmp_path / "path").read_bytes() == DATA
    assert stored(storage) == {"name": DATA[7:]}


def test_what_a_storage_reports_is_compared(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that computes a digest of something else has not stored it."""

    class Lying:
        def __init__(self, deposit: Any) -> None:
            self.write = deposit.write
            self.close = deposit.close
            self._deposit = deposit

        def commit(self, **more: Any) -> Stored:
            stored = self._deposit.commit(**more)
            return Stored(stored.key, stored.size, stored.modified, digests={"md5": bytes(16)})

    make = storage.deposit
    monkeypatch.setattr(storage, "deposit", lambda *args, **more: Lying(make(*args, **more)))
    target: ObjectAddress = storage.object("name")
    with pytest.raises(StoredDiffers):
        receive(environ(DATA), target, digests=["md5"])
    assert stored(storage) == {}
    receive(environ(DATA), target, digests=["sha-256"])
    assert stored(storage) == {"name": DATA}


def test_the_digest_of_the_client_is_handed_on(storage: LocalStorage) -> None:
    """Content-MD5, which the S3 clients of the world send."""
    md5 = base64.b64encode(hashlib.md5(DATA).digest()).decode()
    received = receive(environ(DATA, HTTP_CONTENT_MD5=md5), storage.object("name"))
    assert list(received.digests) == ["md5"]
