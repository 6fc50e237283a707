"""Files of forms that go to a storage while werkzeug parses them."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disk import open_files
from flask import Flask, request
from greenlets import hub_writer, in_greenlet, wait_until
from http_client import FORM_TYPE, Part, form
from werkzeug.formparser import parse_form_data
from werkzeug.wrappers import Request, Response
from wsgi import call, environ

from cooperative_upload.errors import AlreadyStored
from cooperative_upload.flask_ext import CooperativeUpload
from cooperative_upload.middleware import CooperativeUploadMiddleware
from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool import Spool
from cooperative_upload.storage import FormFile, LocalStorage

DATA = bytes(range(256)) * 4000
BODY = form(Part("title", b"a title"), Part("file", DATA, "name.bin"), Part("empty", b"", ""))


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    root = tmp_path / "root"
    root.mkdir()
    return LocalStorage(root, UploadSettings(spool_memory_bytes=1000, spool_batch_bytes=4096))


def keys(storage: LocalStorage) -> list[str]:
    return [one.key for one in storage.list()]


def post(application: Callable[..., Any], body: bytes = BODY) -> Any:
    """From a greenlet, as a gevent server does it."""
    with hub_writer():
        return in_greenlet(lambda: call(application, environ(body, CONTENT_TYPE=FORM_TYPE)))


def flask_application(storage: LocalStorage, view: Callable[[Any], Any], **more: Any) -> Flask:
    app = Flask(__name__)
    app.testing = True  # what a view raises comes out
    CooperativeUpload(app, stream_factory=storage.form_files(**more))

    @app.post("/")
    def take() -> Any:
        return view(request.files["file"])

    return app


def test_it_is_there_once_the_view_commits_it(storage: LocalStorage) -> None:
    """Under a random key, with its type; again gives the same."""
    seen: list[Any] = []

    def view(file: Any) -> str:
        assert keys(storage) == []
        seen.append(file.stream.commit())
        assert file.stream.commit() == seen[0]
        assert file.stream.key == seen[0].key
        assert "name" not in file.stream.key
        return "ok"

    post(flask_application(storage, view))
    assert keys(storage) == [seen[0].key]
    assert seen[0].size == len(DATA)
    assert storage.stat(seen[0].key).content_type == "application/octet-stream"


def test_what_nobody_commits_is_gone_with_the_request(
    storage: LocalStorage, tmp_path: Path
) -> None:
    """Also where the view fails."""
    post(flask_application(storage, lambda file: "ok"))
    with pytest.raises(ZeroDivisionError):
        post(flask_application(storage, lambda file: str(1 // 0)))
    assert keys(storage) == []
    wait_until(lambda: open_files(tmp_path) == 0)


def test_reading(storage: LocalStorage) -> None:
    """Before the commit it says why not; then it comes from the storage."""

    def view(file: Any) -> str:
        with pytest.raises(io.UnsupportedOperation, match="once it is committed"):
            file.read()
        assert file.seek(0, os.SEEK_END) == len(DATA)
        assert file.tell() == len(DATA)
        assert file.seek(0) == 0
        with pytest.raises(io.UnsupportedOperation):
            file.stream.write(b"x")
        file.stream.commit()
        assert file.read(300) == DATA[:300]
        assert file.tell() == 300
        file.seek(-5, os.SEEK_END)
        assert file.read() == DATA[-5:]
        file.seek(0)
        assert b"".join(file.stream) == DATA
        return "ok"

    post(flask_application(storage, view))


def test_digests(storage: LocalStorage) -> None:
    expected = {"sha-256": hashlib.sha256(DATA).digest()}

    def view(file: Any) -> str:
        assert file.stream.digests() == expected
        return "ok"

    post(flask_application(storage, view, digests=["sha-256"]))


def test_keys_and_overwriting(storage: LocalStorage) -> None:
    """The application names the object; an old one is kept unless it says so."""

    def view(file: Any) -> str:
        file.stream.commit()
        with pytest.raises(ValueError, match="no position"):
            file.stream.seek(-1)
        return "ok"

    def refused(file: Any) -> str:
        with pytest.raises(AlreadyStored):
            file.stream.commit()
        return "ok"

    def chosen(file: Any) -> str:
        file.stream.commit(overwrite=True)
        return "ok"

    def key(filename: str) -> str:
        return f"of/{filename}"

    post(flask_application(storage, view, key=key))
    old = storage.stat("of/name.bin").etag
    post(flask_application(storage, refused, key=key))
    assert storage.stat("of/name.bin").etag == old
    for how, more in ((view, {"overwrite": True}), (chosen, {})):
        post(flask_application(storage, how, key=key, **more))
        assert keys(storage) == ["of/name.bin"]
        assert storage.stat("of/name.bin").etag != old
        old = storage.stat("of/name.bin").etag


def test_a_file_without_a_key_is_a_temporary_one(storage: LocalStorage) -> None:
    def view(file: Any) -> str:
        assert isinstance(file.stream, Spool)
        return str(len(file.read()))

    post(flask_application(storage, view, key=lambda filename: None))
    assert keys(storage) == []


def test_no_file_was_chosen(storage: LocalStorage) -> None:
    """Browsers send an empty one without a name: no object."""

    def view(file: Any) -> str:
        assert isinstance(request.files["empty"].stream, Spool)
        return "ok"

    post(flask_application(storage, view))


@pytest.mark.usefixtures("werkzeug_restored")
def test_the_middleware_around_any_application(storage: LocalStorage) -> None:
    """Whose forms werkzeug parses."""

    @Request.application
    def application(request: Request) -> Response:
        stream: Any = request.files["file"].stream
        return Response(stream.commit().key)

    wrapped = CooperativeUploadMiddleware(application, stream_factory=storage.form_files())
    post(wrapped)
    assert len(keys(storage)) == 1
    post(
        CooperativeUploadMiddleware(
            Request.application(
                lambda request: Response(type(request.files["file"].stream).__name__)
            )
        )
    )
    assert len(keys(storage)) == 1


def test_plain_werkzeug(storage: LocalStorage) -> None:
    """Without a hub, a wrapper or a request."""
    factory: Any = storage.form_files(lambda filename: filename)
    wsgi = environ(BODY, CONTENT_TYPE=FORM_TYPE)
    _, _, files = parse_form_data(wsgi, stream_factory=factory)
    stream: Any = files["file"].stream
    assert isinstance(stream, FormFile)
    stream.commit()
    with storage.open("name.bin") as content:
        assert content.read() == DATA
    for file in files.values():
        file.close()
