"""Limits where werkzeug parses in one go, without a server."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, request
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.formparser import FormDataParser, parse_form_data
from werkzeug.wrappers import Request
from wsgi import environ

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.body.sources import PieceSource
from cooperative_upload.errors import BodyTooLarge
from cooperative_upload.flask_ext import CooperativeUpload
from cooperative_upload.forms import werkzeug_patch
from cooperative_upload.settings import UploadSettings

FORM = "application/x-www-form-urlencoded"
LIMIT = 100
LIMITS = UploadSettings(max_urlencoded_bytes=LIMIT, max_json_bytes=LIMIT)


def form_of(size: int) -> bytes:
    return b"a=" + b"x" * (size - 2)


def json_of(size: int) -> bytes:
    return b'"' + b"x" * (size - 2) + b'"'


def read_form(of: Request) -> Any:
    return of.form["a"]


def read_json(of: Request) -> Any:
    return of.get_json()


Kind = tuple[str, Callable[[int], bytes], Callable[[Request], Any]]
KINDS: dict[str, Kind] = {
    "form": (FORM, form_of, read_form),
    "json": ("application/vnd.api+JSON; v=1", json_of, read_json),
}


def body_of_ours(data: bytes) -> dict[str, Any]:
    return {"wsgi_input": CooperativeInput(io.BytesIO(data), len(data))}


def body_of_another_server(data: bytes) -> dict[str, Any]:
    return {"wsgi_input": io.BytesIO(data)}


def chunks_of_ours(data: bytes) -> dict[str, Any]:
    pieces = [data[start : start + 7] for start in range(0, len(data), 7)]
    return {
        "wsgi_input": CooperativeInput(PieceSource(iter(pieces))),
        "CONTENT_LENGTH": "",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi_input_terminated": True,
    }


class InPieces(io.RawIOBase):
    """Gives less than it is asked for, as a raw stream may."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(memoryview(buffer)[:7])


def chunks_of_another_server(data: bytes) -> dict[str, Any]:
    return {
        "wsgi_input": InPieces(data),
        "CONTENT_LENGTH": "",
        "wsgi_input_terminated": True,
    }


INPUTS = [body_of_ours, body_of_another_server, chunks_of_ours, chunks_of_another_server]
every_input = pytest.mark.parametrize("make_input", INPUTS)
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@pytest.fixture
def patched(werkzeug_restored: None) -> None:
    werkzeug_patch.apply(LIMITS)


def asked(kind: Kind, size: int, make_input: Callable[[bytes], dict[str, Any]]) -> Request:
    data = kind[1](size)
    return Request(environ(data, CONTENT_TYPE=kind[0], **make_input(data)))


@every_kind
@every_input
@pytest.mark.usefixtures("patched")
def test_at_and_over_the_limit(kind: Kind, make_input: Callable[[bytes], dict[str, Any]]) -> None:
    """A body as large as the limit is parsed, and one byte more is a 413 with both numbers."""
    assert "xxx" in kind[2](asked(kind, LIMIT, make_input))
    too_large = asked(kind, LIMIT + 1, make_input)
    with pytest.raises(BodyTooLarge, match=r"accepted are at most 100\.") as caught:
        kind[2](too_large)
    announced = "CONTENT_LENGTH" not in make_input(b"")
    assert caught.value.expected == (LIMIT + 1 if announced else None)
    if isinstance(body := too_large.environ["wsgi.input"], CooperativeInput):
        assert body.error is caught.value
        assert not announced or body.received == 0


@every_kind
@every_input
@pytest.mark.usefixtures("patched")
def test_reading_is_no_parsing(kind: Kind, make_input: Callable[[bytes], dict[str, Any]]) -> None:
    """get_data() gives a body of any size, and what it has cached is not parsed behind it."""
    large = asked(kind, 1000, make_input)
    assert large.get_data() == kind[1](1000)
    with pytest.raises(BodyTooLarge):
        kind[2](large)
    small = asked(kind, LIMIT, make_input)
    assert small.get_data() == kind[1](LIMIT)
    assert "xxx" in kind[2](small)


@every_kind
@pytest.mark.usefixtures("patched")
def test_max_content_length_of_the_application(kind: Kind) -> None:
    """werkzeug's own limit stands in front of the body, and the sentence is still this one."""
    for make_input in (body_of_ours, chunks_of_ours):
        limited = asked(kind, LIMIT + 1, make_input)
        limited.max_content_length = 10_000
        with pytest.raises(BodyTooLarge):
            kind[2](limited)


@pytest.mark.usefixtures("patched")
def test_json_whatever_its_name() -> None:
    """force=True parses what is not called JSON; who parses nothing is not limited."""
    large = json_of(LIMIT + 1)
    with pytest.raises(BodyTooLarge):
        Request(environ(large, CONTENT_TYPE=FORM)).get_json(force=True)
    with pytest.raises(UnsupportedMediaType):
        Request(environ(large, CONTENT_TYPE="text/plain")).get_json()
    assert Request(environ(large, CONTENT_TYPE="text/plain")).get_json(silent=True) is None
    with pytest.raises(BodyTooLarge):
        Request(environ(large, CONTENT_TYPE="application/json")).get_json(silent=True)


@pytest.mark.usefixtures("patched")
def test_arguments_and_answers_are_werkzeugs() -> None:
    """Cached or not, by every way to call it."""
    small = json.dumps({"a": [1]}).encode()
    for make_input in INPUTS:
        more = make_input(small)
        one = Request(environ(small, CONTENT_TYPE="application/json", **more))
        assert one.get_json(cache=False) == {"a": [1]}
        two = Request(environ(small, CONTENT_TYPE="application/json", **make_input(small)))
        assert two.json is two.get_json() is two.get_json(False, False, True)
        assert two.get_data() == small
    stream: Any = io.BytesIO(b"a=1")
    given, form, files = FormDataParser().parse(stream, FORM, None)
    assert (given, dict(form), dict(files)) == (stream, {"a": "1"}, {})
    _, form, _ = parse_form_data(environ(b"a=1", CONTENT_TYPE=FORM))
    assert dict(form) == {"a": "1"}


@pytest.mark.usefixtures("werkzeug_restored")
@every_kind
def test_no_limit(kind: Kind) -> None:
    """0 is no limit, and not one of no bytes."""
    werkzeug_patch.apply(UploadSettings(max_urlencoded_bytes=0, max_json_bytes=0))
    for make_input in INPUTS:
        assert "xxx" in kind[2](asked(kind, 3_000_000, make_input))


@pytest.mark.usefixtures("werkzeug_restored")
def test_defaults() -> None:
    """Of the two only forms are limited unless it is asked for."""
    werkzeug_patch.apply(UploadSettings())
    assert "xxx" in read_json(asked(KINDS["json"], 3_000_000, body_of_ours))
    assert "xxx" in read_form(asked(KINDS["form"], 2 << 20, body_of_ours))
    with pytest.raises(BodyTooLarge):
        read_form(asked(KINDS["form"], (2 << 20) + 1, body_of_ours))


def test_the_extension_limits_its_own_application() -> None:
    """And no other one in the process."""

    def make_app() -> Flask:
        app = Flask(__name__)
        app.post("/form", endpoint="form")(lambda: request.form["a"])
        app.post("/json", endpoint="json")(lambda: request.get_json())
        app.post("/raw", endpoint="raw")(lambda: request.get_data())
        return app

    app = make_app()
    app.config["COOPERATIVE_UPLOAD_MAX_URLENCODED_BYTES"] = LIMIT
    app.config["COOPERATIVE_UPLOAD_MAX_JSON_BYTES"] = LIMIT
    CooperativeUpload(app)
    client, other = app.test_client(), make_app().test_client()
    for path, content_type, data in (
        ("/form", FORM, form_of(LIMIT + 1)),
        ("/json", "application/json", json_of(LIMIT + 1)),
    ):
        assert client.post(path, data=data, content_type=content_type).status_code == 413
        assert client.post("/raw", data=data, content_type=content_type).data == data
        assert other.post(path, data=data, content_type=content_type).status_code == 200
        small = data[: LIMIT // 2] + data[-1:]
        assert client.post(path, data=small, content_type=content_type).status_code == 200
