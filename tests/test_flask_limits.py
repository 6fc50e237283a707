"""Flask's own limits, which hold for an application as they do without this package."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wsgi
from flask import Flask, request
from greenlets import hub_scheduler, hub_writer, in_greenlet
from http_client import FORM_TYPE, Part, form
from wsgi import environ

from cooperative_upload import CooperativeUploadMiddleware, receive, stream_parts
from cooperative_upload.errors import BodyTooLarge
from cooperative_upload.flask_ext import CooperativeUpload

pytestmark = pytest.mark.usefixtures("werkzeug_restored")

FORM = form(
    Part("title", b"t" * 1000),
    *(Part(f"file{number}", b"f" * 50_000, "name.bin") for number in range(3)),
)
SMALL_FORM = form(Part("title", b"t" * 1000), Part("file", b"f" * 1000, "name.bin"))


def of(name: str, *numbers: int) -> list[dict[str, int | None]]:
    return [{name: number} for number in numbers]


BODIES = [(body, chunked) for body in (FORM, SMALL_FORM) for chunked in (False, True)]

Limits = dict[str, int | None]
Wrap = Callable[[Flask], Callable[..., Any]]

LIMITS: list[Limits] = [
    {},
    *of("MAX_CONTENT_LENGTH", *(len(FORM) + more for more in (-1, 0, 1))),
    {"MAX_CONTENT_LENGTH": len(SMALL_FORM) - 1},
    {"MAX_CONTENT_LENGTH": 0},
    {"MAX_CONTENT_LENGTH": None},
    *of("MAX_FORM_PARTS", *range(6)),
    *of("MAX_FORM_MEMORY_SIZE", *(1000 + more for more in (-1, 0, 1))),
    {"MAX_FORM_MEMORY_SIZE": 0},
]


def make_app(limits: dict[str, int | None]) -> Flask:
    app = Flask(__name__)
    app.config.update(limits)

    @app.post("/form")
    def form_view() -> str:
        return f"{len(request.form)} {len(request.files)}"

    @app.post("/data")
    def data_view() -> str:
        return str(len(request.get_data()))

    @app.post("/receive")
    def receive_view() -> str:
        return str(receive(request, request.args["to"], fsync=False).size)

    @app.post("/stream-parts")
    def parts_view() -> str:
        fields = files = 0
        for part in stream_parts(request):
            if part.filename is None:
                fields += len(part.text()) > 0
            else:
                files += 1
        return f"{fields} {files}"

    return app


def middleware(app: Flask) -> Callable[..., Any]:
    return CooperativeUploadMiddleware(app)


def extension(app: Flask) -> Callable[..., Any]:
    CooperativeUpload(app)
    return app


def answer(application: Callable[..., Any], body: bytes, path: str, chunked: bool) -> Any:
    path, _, query = path.partition("?")
    asked = environ(body, PATH_INFO=path, QUERY_STRING=query, CONTENT_TYPE=FORM_TYPE)
    asked["wsgi.input_terminated"] = True  # as on gunicorn, which decodes chunks itself
    if chunked:
        asked |= {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}
    made = wsgi.call(application, asked)
    return made.status, made.body if made.status == 200 else b""


def answer_in_hub(application: Callable[..., Any], *asked: Any) -> Any:
    with hub_scheduler(), hub_writer():
        return in_greenlet(lambda: answer(application, *asked))


# werkzeug leaves the temporary files of a refused form to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("path", ["/form", "/data"])
@pytest.mark.parametrize("wrap", [middleware, extension])
@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_as_without_this_package(limits: Limits, wrap: Wrap, path: str) -> None:
    """What reads by Flask's own means is answered as Flask alone answers it."""
    alone = [answer(make_app(limits), body, path, chunked) for body, chunked in BODIES]
    ours = wrap(make_app(limits))
    assert [answer_in_hub(ours, body, path, chunked) for body, chunked in BODIES] == alone


@pytest.mark.parametrize("wrap", [middleware, extension])
@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_receive(limits: Limits, wrap: Wrap, tmp_path: Path) -> None:
    """More than MAX_CONTENT_LENGTH is a 413, and nothing is stored."""
    ours = wrap(make_app(limits))
    target = tmp_path / "received"
    for body, chunked in BODIES:
        most = limits.get("MAX_CONTENT_LENGTH")
        fits = most is None or len(body) <= most
        expected = (200, str(len(body)).encode()) if fits else (413, b"")
        assert answer_in_hub(ours, body, f"/receive?to={target}", chunked) == expected
        assert target.exists() == fits
        target.unlink(missing_ok=True)


@pytest.mark.parametrize("wrap", [middleware, extension])
@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_stream_parts(limits: Limits, wrap: Wrap) -> None:
    """As receive(), with the number of parts and the size of a field's text."""
    ours = wrap(make_app(limits))
    for body, chunked in BODIES:
        files = 3 if body is FORM else 1
        sizes = {
            "MAX_CONTENT_LENGTH": len(body),
            "MAX_FORM_PARTS": 1 + files,
            "MAX_FORM_MEMORY_SIZE": 1000,
        }
        fits = all(most is None or sizes[name] <= most for name, most in limits.items())
        expected = (200, f"1 {files}".encode()) if fits else (413, b"")
        assert answer_in_hub(ours, body, "/stream-parts", chunked) == expected


def test_text_of_any_size() -> None:
    """An argument goes before the request's limit, which goes before the default."""
    app = Flask(__name__)
    app.config["MAX_FORM_MEMORY_SIZE"] = 10
    body = form(Part("title", b"t" * 100_000))
    for given, fits in ((100_000, True), (99_999, False), (None, False)):
        with app.test_request_context(method="POST", data=body, content_type=FORM_TYPE):
            part = next(stream_parts(request))
            with contextlib.nullcontext() if fits else pytest.raises(BodyTooLarge):
                assert part.text(given) == "t" * 100_000
    asked = environ(form(Part("title", b"t" * 65_537)), CONTENT_TYPE=FORM_TYPE)
    for part in stream_parts(asked):
        with pytest.raises(BodyTooLarge):
            part.text()
