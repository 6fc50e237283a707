"""The Flask extension in applications of the kind that people have."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Blueprint, Flask, Request, request, stream_with_context
from greenlets import hub_scheduler, hub_writer, in_greenlet
from http_client import FORM_TYPE, Part, form
from werkzeug.datastructures import FileStorage
from werkzeug.formparser import FormDataParser
from werkzeug_names import REPLACED
from wsgi import Call, call, environ

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.errors import SettingsError
from cooperative_upload.flask_ext import CooperativeFile, CooperativeUpload

DATA = bytes(range(256)) * 4000


def make_app(**config: Any) -> Flask:
    """An application with the extension, which says what it got and saves it where it is told."""
    app = Flask(__name__)
    app.config.update(config)

    @app.post("/form")
    def describe() -> dict[str, Any]:
        file = request.files["file"]
        described = {
            "input": type(request.environ["wsgi.input"]).__name__,
            "file": type(file).__name__,
            "stream": type(file.stream).__name__,
            "size": len(file.read()),
            "title": request.form.get("title"),
            "name": file.filename,
            "type": file.mimetype,
        }
        file.seek(0)
        if target := request.args.get("save"):
            file.save(target)
        file.close()  # without the extension nobody does, until the garbage is collected
        return described

    return app


BODY = form(
    Part("title", b"a title"),
    Part("file", DATA, "name.bin"),
)


def post(app: Callable[..., Any], path: str = "/form", body: bytes = BODY, **query: str) -> Call:
    """A form with a file, sent from a greenlet, as a gevent server does it."""
    asked = environ(
        BODY,
        PATH_INFO=path,
        QUERY_STRING=urlencode(query),
        CONTENT_TYPE=FORM_TYPE,
        wsgi_input=io.BytesIO(body),
    )
    with hub_scheduler(), hub_writer():
        return in_greenlet(lambda: call(app, asked))


def test_all_of_it(tmp_path: Path) -> None:
    """Input, temporary file and save are cooperative, and what was sent is there."""
    app = make_app()
    CooperativeUpload(app)
    made = post(app, save=str(tmp_path / "saved"))
    assert made.status == 200
    assert b'"input":"CooperativeInput"' in made.body
    assert b'"file":"CooperativeFile"' in made.body
    assert b'"stream":"Spool"' in made.body
    assert b'"name":"name.bin"' in made.body
    assert b'"title":"a title"' in made.body
    assert b'"type":"application/octet-stream"' in made.body
    assert (tmp_path / "saved").read_bytes() == DATA


def test_nothing_global_changes() -> None:
    """werkzeug is the same for everybody else in the process."""
    before = [getattr(owner, name) for owner, name in REPLACED]
    CooperativeUpload(make_app())
    assert [getattr(owner, name) for owner, name in REPLACED] == before


def test_init_app_and_several_applications() -> None:
    """One extension for two applications, each with its own settings; a third without it."""
    extension = CooperativeUpload()
    memory = make_app(COOPERATIVE_UPLOAD_SPOOL_MEMORY_BYTES=10_000_000)
    small = make_app(COOPERATIVE_UPLOAD_MAX_BODY_BYTES=1000)
    without = make_app()
    extension.init_app(memory)
    extension.init_app(small)
    assert b'"stream":"Spool"' in post(memory).body
    assert post(small).status == 413
    made = post(without)
    assert b'"stream":"Spool"' not in made.body
    assert b'"file":"FileStorage"' in made.body


def test_settings_as_text() -> None:
    """As app.config.from_prefixed_env() and files of settings give them: as the right type."""
    app = make_app(COOPERATIVE_UPLOAD_MAX_BODY_BYTES=1000, COOPERATIVE_UPLOAD_SLICE_MS=1)
    CooperativeUpload(app)
    assert post(app).status == 413


def test_a_switch_as_a_number() -> None:
    """from_prefixed_env() makes a number of the 0 that the documentation speaks of."""
    app = make_app(COOPERATIVE_UPLOAD_FAST_MULTIPART=0)
    CooperativeUpload(app)
    assert post(app).status == 200


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"COOPERATIVE_UPLOAD_SLICE": 1}, "did you mean slice_ms"),
        ({"COOPERATIVE_UPLOAD_SLICE_MS": "fast"}, "slice_ms: expected"),
        ({"COOPERATIVE_UPLOAD_PATCH_WERKZEUG": True}, "the extension patches nothing"),
    ],
)
def test_wrong_settings(config: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        CooperativeUpload(make_app(**config))


def test_a_request_class_of_the_users_own() -> None:
    """It stays what it was, with what it overrides."""

    class OwnParser(FormDataParser):
        pass

    class OwnRequest(Request):
        form_data_parser_class = OwnParser
        max_form_parts = 7

        @property
        def own(self) -> str:
            return "own"

    app = make_app()
    app.request_class = OwnRequest

    @app.before_request
    def check() -> None:
        assert request.own == "own"  # type: ignore[attr-defined]
        assert isinstance(request, OwnRequest)
        assert request.max_form_parts == 7
        assert issubclass(request.form_data_parser_class, OwnParser)

    CooperativeUpload(app)
    made = post(app)
    assert made.status == 200
    assert b'"stream":"Spool"' in made.body
    assert app.request_class.__name__ == "OwnRequest"


def test_a_stream_factory_of_the_users_own() -> None:
    """Who says where files go is not overruled."""

    class OwnRequest(Request):
        def _get_file_stream(self, *args: Any, **kwargs: Any) -> Any:
            return io.BytesIO()

    app = make_app()
    app.request_class = OwnRequest
    CooperativeUpload(app)
    assert b'"stream":"BytesIO"' in post(app).body


def test_max_content_length() -> None:
    """Flask's own limit is kept."""
    app = make_app(MAX_CONTENT_LENGTH=1000)
    CooperativeUpload(app)
    assert post(app).status == 413
    app = make_app(MAX_CONTENT_LENGTH=10_000_000)
    CooperativeUpload(app)
    assert post(app).status == 200


def test_before_request_and_blueprints() -> None:
    """A refusal reads nothing; a blueprint's views get what the application's get."""
    app = make_app()
    blueprint = Blueprint("files", __name__, url_prefix="/files")
    streams: list[Any] = []

    @blueprint.before_request
    def refuse() -> tuple[str, int] | None:
        streams.append(request.environ["wsgi.input"])
        return ("no", 401) if "refused" in request.args else None

    @blueprint.post("/")
    def name() -> str:
        return type(request.files["file"]).__name__

    app.register_blueprint(blueprint)
    CooperativeUpload(app)
    assert post(app, "/files/", refused="1").status == 401
    assert isinstance(streams[0], CooperativeInput)
    assert streams[0].received == 0
    assert post(app, "/files/").body == b"CooperativeFile"


def test_a_streaming_view() -> None:
    """A response that is made from the body while it comes."""
    app = make_app()

    @app.post("/echo")
    def echo() -> Any:
        return stream_with_context(iter(lambda: request.stream.read(1000), b""))

    CooperativeUpload(app)
    assert post(app, "/echo").body == BODY


def test_a_broken_upload_is_a_400() -> None:
    """As it is with the worker: not an empty form."""
    app = make_app()
    CooperativeUpload(app)
    made = post(app, body=BODY[:5000])
    assert made.status == 400
    assert b"received 5,000 of " in made.body


def test_the_test_client(tmp_path: Path) -> None:
    """app.test_client() has no hub: everything works, and passes through."""
    app = make_app()
    CooperativeUpload(app)
    answer = app.test_client().post(
        "/form",
        data=BODY,
        content_type=FORM_TYPE,
        query_string={"save": str(tmp_path / "saved")},
    )
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["input"] == "BytesIO"
    assert answer.json["size"] == len(DATA)
    assert (tmp_path / "saved").read_bytes() == DATA


def test_a_file_that_is_saved_to_a_file_object() -> None:
    """As werkzeug does it."""
    target = io.BytesIO()
    CooperativeFile(io.BytesIO(DATA)).save(target)
    assert target.getvalue() == DATA
    assert isinstance(CooperativeFile(), FileStorage)
