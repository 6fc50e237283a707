"""A form that breaks off is a 400 wherever it is read, and never an empty or a shorter form."""

from __future__ import annotations

import io
from typing import Any

import flask
import pytest
import werkzeug.formparser
import werkzeug.wrappers.request
from greenlets import hub_scheduler, in_greenlet
from werkzeug.exceptions import ClientDisconnected
from werkzeug.formparser import FormDataParser, parse_form_data
from werkzeug.wrappers import Request

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.errors import IncompleteBody

MULTIPART = b"".join(
    [
        b"--boundary\r\n",
        b'Content-Disposition: form-data; name="title"\r\n\r\n',
        b"a title\r\n",
        b"--boundary\r\n",
        b'Content-Disposition: form-data; name="file"; filename="data.bin"\r\n',
        b"Content-Type: application/octet-stream\r\n\r\n",
        b"0123456789" * 8_000,
        b"\r\n--boundary--\r\n",
    ]
)
URLENCODED = b"title=a+title&file=" + b"0123456789" * 8_000
FORMS = {
    "multipart": ("multipart/form-data; boundary=boundary", MULTIPART),
    "urlencoded": ("application/x-www-form-urlencoded", URLENCODED),
}

# Where the client stops: in the middle of a header, of the file, of the last boundary.
ARRIVED = {"nothing": 0, "header": 40, "file": 50_000, "end": -3}


@pytest.fixture(autouse=True)
def parts_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """werkzeug leaves the temporary files of a form that broke off to the garbage collector."""
    for module in (werkzeug.formparser, werkzeug.wrappers.request):
        monkeypatch.setattr(module, "default_stream_factory", lambda *_, **__: io.BytesIO())


def broken_environ(form: str, arrived: int, **more: Any) -> dict[str, Any]:
    """The WSGI environment of a form of which the client sent only the beginning."""
    content_type, data = FORMS[form]
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
        "wsgi.input": CooperativeInput(io.BytesIO(data[:arrived]), len(data)),
        "wsgi.input_terminated": True,
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(data)),
        **more,
    }


@pytest.fixture(params=ARRIVED)
def arrived(request: pytest.FixtureRequest) -> int:
    return ARRIVED[request.param]


@pytest.mark.parametrize("form", FORMS)
def test_the_silent_form_parser_raises(form: str, arrived: int) -> None:
    """silent=True swallows what a parser finds wrong with a form, and not that it is not there."""
    environ = broken_environ(form, arrived)
    with pytest.raises(IncompleteBody) as caught:
        parse_form_data(environ, silent=True)
    data = FORMS[form][1]
    assert (caught.value.received, caught.value.expected) == (len(data[:arrived]), len(data))


def test_the_same_parser_takes_a_whole_form() -> None:
    """The tests above fail for the right reason."""
    environ = broken_environ("multipart", len(MULTIPART))
    _, form, files = parse_form_data(environ, silent=True)
    assert form["title"] == "a title"
    assert files["file"].read() == b"0123456789" * 8_000


@pytest.mark.parametrize("form", FORMS)
def test_without_a_length(form: str) -> None:
    """Chunked coding: its decoder raises, and the form parser lets that through too."""

    class Chunked(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            if not data:
                raise ConnectionAbortedError("No more data")
            return data

    content_type, data = FORMS[form]
    stream: Any = CooperativeInput(Chunked(data[:50_000]))
    with pytest.raises(IncompleteBody):
        FormDataParser(silent=True).parse(
            stream, content_type.partition(";")[0], None, {"boundary": "boundary"}
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("limit", [None, 10_000_000])
def test_werkzeugs_request(form: str, arrived: int, limit: int | None) -> None:
    """request.form and request.files raise, also through the stream that limits the length."""

    class Limited(Request):
        max_content_length = limit

    for name in ("form", "files", "values"):
        with pytest.raises(ClientDisconnected):
            getattr(Limited(broken_environ(form, arrived)), name)


def application(limit: int | None, read: str) -> flask.Flask:
    """Reads the form in one of several ways, and tells what it saw."""
    app = flask.Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = limit

    @app.post("/")
    def upload() -> dict[str, Any]:
        if read == "data":
            return {"bytes": len(flask.request.get_data())}
        if read == "stream":
            return {"bytes": sum(map(len, flask.request.stream))}
        if read == "json":
            return {"json": flask.request.get_json(force=True, silent=True)}
        return {"form": list(flask.request.form), "files": list(flask.request.files)}

    return app


@pytest.mark.parametrize("read", ["form", "data", "stream", "json"])
@pytest.mark.parametrize("limit", [None, 10_000_000])
@pytest.mark.parametrize("form", FORMS)
def test_flask_answers_400(form: str, arrived: int, limit: int | None, read: str) -> None:
    """However a view reads the request, it never answers 200 to a part of it."""
    client = application(limit, read).test_client()

    def post() -> int:
        with client.open(environ_overrides=broken_environ(form, arrived), method="POST") as got:
            return got.status_code

    with hub_scheduler():
        assert in_greenlet(post) == 400


def test_flask_says_how_much_came() -> None:
    """The page of the error shows both numbers."""
    client = application(None, "form").test_client()
    with client.open(environ_overrides=broken_environ("multipart", 123), method="POST") as got:
        assert f"received 123 of {len(MULTIPART):,} bytes" in got.get_data(as_text=True)


def test_a_flask_view_that_catches_http_errors() -> None:
    """It is an HTTPException for Flask's handlers as well."""
    app = application(None, "form")

    @app.errorhandler(IncompleteBody)
    def incomplete(error: IncompleteBody) -> tuple[str, int]:
        return f"{error.received}", 499

    with app.test_client().open(
        environ_overrides=broken_environ("multipart", 100), method="POST"
    ) as got:
        assert (got.status_code, got.get_data(as_text=True)) == (499, "100")


def test_in_a_request_context() -> None:
    """flask.request over such a body, without a server."""
    app = application(None, "form")
    with app.test_request_context(environ_overrides=broken_environ("multipart", 100)):
        with pytest.raises(IncompleteBody):
            flask.request.files  # noqa: B018
        with pytest.raises(IncompleteBody):
            flask.request.stream.read()
