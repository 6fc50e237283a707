"""A body of which something was read is neither empty nor broken off."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, got_request_exception, request
from flask.typing import ResponseReturnValue
from http_client import FORM_TYPE, Part, form
from werkzeug.wrappers import Request
from werkzeug.wsgi import LimitedStream
from wsgi import environ

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.body.sources import PieceSource
from cooperative_upload.errors import BodyAlreadyRead, BodyTooLarge, IncompleteBody
from cooperative_upload.forms.streaming import receive, stream_parts
from cooperative_upload.settings import UploadSettings

DATA = b"0123456789"
FORM = form(Part("title", b"a title"), Part("file", DATA, "f"))
URLENCODED = "application/x-www-form-urlencoded"


class OfAServer:
    """The input of a server that tells nothing but what it is asked for."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)
        self.read = self._data.read
        self.readline = self._data.readline


def ours(data: bytes) -> Any:
    return CooperativeInput(io.BytesIO(data), len(data))


def ours_behind_a_limit(data: bytes) -> Any:
    stream: Any = ours(data)
    return LimitedStream(stream, 1000, is_max=True)


INPUTS = [ours, ours_behind_a_limit, OfAServer, io.BytesIO]
every_input = pytest.mark.parametrize("make_input", INPUTS)
Make = Callable[[bytes], Any]


def asked(make_input: Make, data: bytes = DATA, **more: Any) -> Request:
    return Request(environ(data, wsgi_input=make_input(data), **more))


def check_already_read(of: Any, target: Path, words: str) -> None:
    """By the request and by its environ; the file stays."""
    target.write_bytes(b"old")
    for one in (of, of.environ):
        with pytest.raises(BodyAlreadyRead) as caught:
            receive(one, target)
        assert str(caught.value).startswith("receive() needs the whole request body, and ")
        assert words in str(caught.value)
        assert caught.value.fault == "application"
    assert target.read_bytes() == b"old"


@every_input
@pytest.mark.parametrize("cache", [True, False])
def test_get_data(make_input: Make, tmp_path: Path, cache: bool) -> None:
    """Whether werkzeug has kept it or not."""
    one = asked(make_input)
    one.get_data(cache=cache)
    reader = "request.get_data()" if cache else "request.stream"
    known = cache or make_input is OfAServer
    check_already_read(one, tmp_path / "file", f"to {reader}" if known else "already")


@every_input
@pytest.mark.parametrize(("content_type", "data"), [(FORM_TYPE, FORM), (URLENCODED, b"a=1&b=2")])
def test_forms(make_input: Make, tmp_path: Path, content_type: str, data: bytes) -> None:
    """Whichever of the properties parsed it; also for stream_parts()."""
    for name in ("form", "files", "values", "data"):
        one = asked(make_input, data, CONTENT_TYPE=content_type)
        getattr(one, name)
        one.close()
        check_already_read(one, tmp_path / "file", "to ")
        if content_type == FORM_TYPE:
            with pytest.raises(BodyAlreadyRead, match=r"^stream_parts\(\) needs the whole"):
                next(stream_parts(one))


@every_input
def test_a_form_that_was_looked_for_and_is_none(make_input: Make, tmp_path: Path) -> None:
    """A token that is looked for in request.form reads nothing of a raw body."""
    for content_type in ("", "application/octet-stream"):
        one = asked(make_input, CONTENT_TYPE=content_type)
        assert one.form.get("csrf_token") is None
        assert receive(one, tmp_path / "file").size == len(DATA)
        assert (tmp_path / "file").read_bytes() == DATA


@every_input
def test_read_in_part(make_input: Make, tmp_path: Path) -> None:
    """How much is said where it is known."""
    one = asked(make_input)
    one.stream.read(3)
    check_already_read(one, tmp_path / "file", "3 of 10 bytes went to")


def test_what_was_received_and_not_handed_out(tmp_path: Path) -> None:
    """A line that was read took more from the source; only the line counts."""
    body = CooperativeInput(PieceSource(iter([b"ab\ncd", b"ef"])))
    assert body.handed_out == 0
    assert body.readline() == b"ab\n"
    assert (body.received, body.handed_out) == (5, 3)
    assert body.read() == b"cdef"
    assert body.handed_out == 7


@every_input
def test_twice(make_input: Make, tmp_path: Path) -> None:
    """The second receive() is told of the first, and of a form that was left halfway."""
    one = asked(make_input)
    assert receive(one, tmp_path / "first").size == len(DATA)
    check_already_read(one, tmp_path / "file", "10 of 10 bytes went to an earlier receive()")
    two = asked(make_input, FORM, CONTENT_TYPE=FORM_TYPE)
    for _ in stream_parts(two):
        break
    check_already_read(two, tmp_path / "file", "went to an earlier stream_parts()")


@pytest.mark.parametrize(
    "stream", [CooperativeInput(io.BytesIO(b"01234"), 10), OfAServer(b"01234")]
)
def test_twice_of_a_body_that_broke_off(stream: Any, tmp_path: Path) -> None:
    """The client's fault stays the client's."""
    broken = environ(DATA, wsgi_input=stream)
    for _ in range(2):
        with pytest.raises(IncompleteBody, match="received 5 of 10 bytes"):
            receive(broken, tmp_path / "file")


@every_input
def test_again_where_nothing_was_read(make_input: Make, tmp_path: Path) -> None:
    """A target that can't be written leaves the body for another one."""
    one = asked(make_input)
    with pytest.raises(FileNotFoundError):
        receive(one, tmp_path / "missing" / "file")
    assert receive(one, tmp_path / "file").size == len(DATA)


@every_input
def test_an_empty_body(make_input: Make, tmp_path: Path) -> None:
    """There is nothing of it that anybody could have read."""
    for content_type in ("", URLENCODED):
        one = asked(make_input, b"", CONTENT_TYPE=content_type)
        assert (one.get_data(), len(one.form)) == (b"", 0)
        assert receive(one, tmp_path / "file").size == 0


def put_back(data: bytes) -> list[Any]:
    raw: Any = io.BytesIO(data)
    return [io.BytesIO(data), LimitedStream(io.BytesIO(data), len(data)), io.BufferedReader(raw)]


@every_input
@pytest.mark.parametrize("number", range(3))
def test_a_body_that_was_put_back(make_input: Make, tmp_path: Path, number: int) -> None:
    """Who reads it and puts another stream in its place wants it to be read again."""
    one = asked(make_input)
    data = one.get_data()
    one.environ["wsgi.input"] = put_back(data)[number]
    assert receive(one.environ, tmp_path / "file").size == len(DATA)
    assert (tmp_path / "file").read_bytes() == DATA
    again = asked(make_input)
    again.environ["wsgi.input"] = put_back(again.get_data())[number]
    again.environ["wsgi.input"].read(4)
    del again.environ["werkzeug.request"]
    with pytest.raises(BodyAlreadyRead, match=r"4 of 10|4,096 of 10|10 of 10"):
        receive(again.environ, tmp_path / "file")


def test_a_broken_body_says_that_it_is(tmp_path: Path) -> None:
    """And not that somebody has read it."""
    body = CooperativeInput(PieceSource(iter([b"12345", b"67890"])), None, most_bytes=7)
    assert body.read(5) == b"12345"
    with pytest.raises(BodyTooLarge):
        body.read(5)
    with pytest.raises(BodyTooLarge):
        receive(environ(wsgi_input=body), tmp_path / "file")


def test_in_flask(tmp_path: Path) -> None:
    """A before_request that looks at the body: a 500 that is logged, and no empty file."""
    app = Flask(__name__)
    seen: list[Any] = []

    @app.before_request
    def look() -> None:
        if request.args.get("look"):
            request.get_data()

    @app.put("/")
    def store() -> ResponseReturnValue:
        receive(request, tmp_path / "file")
        return "stored", 201

    def log(sender: Flask, exception: BaseException) -> None:
        seen.append(exception)

    got_request_exception.connect(log, app)
    client = app.test_client()
    assert client.put("/", data=DATA).status_code == 201
    answer = client.put("/?look=1", data=b"another body")
    assert answer.status_code == 500
    assert "get_data" not in answer.text
    assert [type(error) for error in seen] == [BodyAlreadyRead]
    assert "12 of 12 bytes went to request.get_data()" in str(seen[0])
    assert (tmp_path / "file").read_bytes() == DATA


@pytest.mark.parametrize(
    ("read", "reader"),
    [
        (lambda one: one.body, "10 of 10 bytes went to request.body"),
        (lambda one: one.read(3), "some of it went to request.read()"),
        (lambda one: one.POST, "some of it went to request.POST or request.FILES"),
    ],
)
def test_django_on_another_server(
    tmp_path: Path, read: Callable[[Any], object], reader: str
) -> None:
    """Its request tells, where the server's stream does not."""
    from django.conf import settings
    from django.core.handlers.wsgi import WSGIRequest

    if not settings.configured:
        settings.configure()
    data = FORM if "POST" in reader else DATA
    content_type = FORM_TYPE if "POST" in reader else "text/plain"
    django = WSGIRequest(environ(data, wsgi_input=OfAServer(data), CONTENT_TYPE=content_type))
    read(django)
    with pytest.raises(BodyAlreadyRead) as caught:
        receive(django, tmp_path / "file")
    assert reader in str(caught.value)


@pytest.mark.filterwarnings("ignore:'cgi' is deprecated")
def test_webob_on_another_server(tmp_path: Path) -> None:
    """What it reads as a whole it puts back; a form it has parsed is one that was read."""
    import webob

    raw = webob.Request(environ(DATA, wsgi_input=OfAServer(DATA)))
    assert raw.body == DATA
    assert receive(raw, tmp_path / "file").size == len(DATA)
    parsed = webob.Request(environ(FORM, wsgi_input=OfAServer(FORM), CONTENT_TYPE=FORM_TYPE))
    assert parsed.POST["title"] == "a title"
    with pytest.raises(BodyAlreadyRead, match=r"went to request\.POST"):
        receive(parsed, tmp_path / "file")


def test_settings_stay_those_of_the_first(tmp_path: Path) -> None:
    """A body that was wrapped for a refused target keeps its limit."""
    one = environ(DATA)
    limited = UploadSettings(max_body_bytes=5)
    for _ in range(2):
        with pytest.raises(BodyTooLarge):
            receive(one, tmp_path / "file", settings=limited)
