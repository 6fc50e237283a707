"""The wrapper around a WSGI application, called without a server, within a hub and outside."""

from __future__ import annotations

import contextvars
import gc
import io
import subprocess
import sys
import threading
import weakref
import wsgiref.util
from collections.abc import Callable, Iterator
from typing import Any

import gunicorn.http.wsgi
import pytest
import werkzeug.formparser
import wsgi
from greenlets import hub_scheduler, hub_writer, in_greenlet
from wsgi import Call, environ

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.errors import IncompleteBody, SettingsError
from cooperative_upload.middleware import CooperativeUploadMiddleware
from cooperative_upload.monitoring.monitor import upload_statistics
from cooperative_upload.spool.temporary_file import Spool

DATA = bytes(range(256)) * 1000
WITHOUT_PATCH: dict[str, Any] = {"patch_werkzeug": False}

pytestmark = pytest.mark.usefixtures("werkzeug_restored")


def call(application: Callable[..., Any], environ: dict[str, Any]) -> Call:
    """In a greenlet, as a gevent server calls it."""
    with hub_scheduler(), hub_writer():
        return in_greenlet(lambda: wsgi.call(application, environ))


def count_body(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answers with the type of the input and the number of its bytes."""
    stream = environ["wsgi.input"]
    size = len(stream.read())
    start_response("200 OK", [])
    return [f"{type(stream).__name__} {size}".encode()]


def test_the_input_is_wrapped() -> None:
    """Within a hub the application reads a CooperativeInput, which ends where the body does."""
    seen: list[dict[str, Any]] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        seen.append(environ)
        return count_body(environ, start_response)

    surplus = io.BytesIO(DATA + b"of the next request")
    made = call(
        CooperativeUploadMiddleware(application, **WITHOUT_PATCH),
        environ(DATA, wsgi_input=surplus),
    )
    assert (made.status, made.body) == (200, b"CooperativeInput 256000")
    assert seen[0]["wsgi.input_terminated"] is True
    assert surplus.read() == b"of the next request"


def test_without_a_hub_nothing_changes() -> None:
    """The environ is the same object with the same stream."""
    made_environ = environ(DATA)
    stream = made_environ["wsgi.input"]
    made = wsgi.call(CooperativeUploadMiddleware(count_body, **WITHOUT_PATCH), made_environ)
    assert made.body == b"BytesIO 256000"
    assert made_environ["wsgi.input"] is stream
    assert "wsgi.input_terminated" not in made_environ


def test_no_hub_is_made() -> None:
    """Wrapping and serving without gevent leave the thread without a hub."""
    program = """
import sys
sys.path.insert(0, "tests/support")
import wsgi
from gevent._hub_local import get_hub_if_exists
from cooperative_upload import CooperativeUploadMiddleware

def application(environ, start_response):
    start_response("200 OK", [])
    return [str(len(environ["wsgi.input"].read())).encode()]

wrapped = CooperativeUploadMiddleware(application, max_uploads=1)
assert wsgi.call(wrapped, wsgi.environ(b"x" * 100_000)).body == b"100000"
assert get_hub_if_exists() is None
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize("caught", [False, True])
def test_what_a_broken_body_left_open_is_freed_with_the_request(caught: bool) -> None:
    """The temporary file of a framework, held by the frames through which the error went."""
    held: list[weakref.ref[io.BytesIO]] = []

    def parse(stream: Any) -> None:
        temporary_file = io.BytesIO()
        held.append(weakref.ref(temporary_file))
        while block := stream.read(1000):
            temporary_file.write(block)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        try:
            parse(environ["wsgi.input"])
        except IncompleteBody:
            if not caught:
                raise
        start_response("400 Bad Request", [])
        return []

    wrapped = CooperativeUploadMiddleware(application, **WITHOUT_PATCH)
    gc.disable()
    try:
        made = call(wrapped, environ(DATA, wsgi_input=io.BytesIO(DATA[:5000])))
        assert made.status == 400
        assert [reference() for reference in held] == [None]
    finally:
        gc.enable()


def test_an_input_that_is_cooperative_already_is_left_alone() -> None:
    """Under our own worker, and where the wrapper is used twice, nothing is done twice."""
    body = CooperativeInput(io.BytesIO(DATA), len(DATA))
    seen: list[Any] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        seen.append(environ["wsgi.input"])
        return count_body(environ, start_response)

    inner = CooperativeUploadMiddleware(application, **WITHOUT_PATCH)
    outer = CooperativeUploadMiddleware(inner, **WITHOUT_PATCH)
    made = call(outer, environ(DATA, wsgi_input=body))
    assert made.body == b"CooperativeInput 256000"
    assert seen == [body]
    call(outer, environ(DATA))
    assert seen[1]._source is not body


@pytest.mark.parametrize(
    "more",
    [
        {"CONTENT_LENGTH": "0"},
        {"CONTENT_LENGTH": ""},
        {"CONTENT_LENGTH": "-5"},
        {"CONTENT_LENGTH": "nonsense"},
        {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "gzip"},
    ],
)
def test_a_request_without_a_body_is_left_alone(more: dict[str, str]) -> None:
    """Nothing to read: not one thing is put around the application."""
    made = call(CooperativeUploadMiddleware(count_body, **WITHOUT_PATCH), environ(b"", **more))
    assert made.body == b"BytesIO 0"


def test_a_chunked_body() -> None:
    """Without a length it ends where the server's stream ends."""
    chunked = environ(DATA, CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="Chunked")
    made = call(CooperativeUploadMiddleware(count_body, **WITHOUT_PATCH), chunked)
    assert made.body == b"CooperativeInput 256000"


def generator(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    """An application whose work is done while its response is taken."""
    yield from count_body(environ, start_response)


@pytest.mark.parametrize("application", [count_body, generator])
def test_a_broken_body_is_a_400(application: Callable[..., Any]) -> None:
    """With how far it came, whenever the application reads."""
    broken = environ(DATA, wsgi_input=io.BytesIO(DATA[:1000]))
    made = call(CooperativeUploadMiddleware(application, **WITHOUT_PATCH), broken)
    assert made.status == 400
    assert b"received 1,000 of 256,000 bytes" in made.body


def test_limits() -> None:
    """Too large is a 413 before the application is called."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        raise AssertionError("called")

    limited = CooperativeUploadMiddleware(application, max_body_bytes=1000, **WITHOUT_PATCH)
    made = call(limited, environ(DATA))
    assert made.status == 413


def test_places_come_back() -> None:
    """Where one upload is allowed at once, one after the other is, however each ends."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] == "/raise":
            raise RuntimeError("of the application")
        return count_body(environ, start_response)

    wrapped = CooperativeUploadMiddleware(application, max_uploads=1, **WITHOUT_PATCH)
    for path in ("/", "/raise", "/"):
        if path == "/raise":
            with pytest.raises(RuntimeError):
                call(wrapped, environ(DATA, PATH_INFO=path))
        else:
            assert call(wrapped, environ(DATA)).status == 200

    def second_within_first(
        outer: dict[str, Any], start_response: Callable[..., Any]
    ) -> list[bytes]:
        if outer["PATH_INFO"] == "/inner":
            return count_body(outer, start_response)
        inner = wsgi.call(twice, environ(DATA, PATH_INFO="/inner"))
        start_response("200 OK", [])
        return [str(inner.status).encode(), inner.headers["Retry-After"].encode()]

    twice = CooperativeUploadMiddleware(second_within_first, max_uploads=1, **WITHOUT_PATCH)
    assert call(twice, environ(DATA)).body == b"50310"


def test_spools_end_with_the_response() -> None:
    """They can be read while the response is taken, and are closed behind it."""
    spools: list[Spool] = []

    def application(
        environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterator[bytes]:
        spool = Spool()
        spools.append(spool)
        spool.write(environ["wsgi.input"].read())
        spool.seek(0)
        start_response("200 OK", [])
        yield spool.read(5)
        assert not spool.closed
        yield spool.read()

    made = call(CooperativeUploadMiddleware(application, **WITHOUT_PATCH), environ(DATA))
    assert made.body == DATA
    assert spools[0].closed


class SlottedWrapper:
    """Takes no attributes, like one that is not written in Python."""

    __slots__ = ("file",)

    def __init__(self, file: Any, block_bytes: int = 8192) -> None:
        self.file = file

    def __iter__(self) -> Iterator[bytes]:
        yield self.file.read()

    def close(self) -> None:
        self.file.close()


class ClosingWrapper(SlottedWrapper):
    """With a close() of its class, as waitress's."""


class WithoutClose:
    """One may be without: PEP 3333 asks for it only where the file has one."""

    def __init__(self, file: Any, block_bytes: int = 8192) -> None:
        self.file = file

    def __iter__(self) -> Iterator[bytes]:
        yield self.file.read()


WRAPPERS = [
    gunicorn.http.wsgi.FileWrapper,
    wsgiref.util.FileWrapper,
    ClosingWrapper,
    SlottedWrapper,
    WithoutClose,
]


def end_here(close: Callable[[], object]) -> None:
    close()


def end_in_another_context(close: Callable[[], object]) -> None:
    contextvars.copy_context().run(close)


def end_in_a_thread(close: Callable[[], object]) -> None:
    thread = threading.Thread(target=close)
    thread.start()
    thread.join()


ENDS = [end_here, end_in_another_context, end_in_a_thread]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("wrapper", [*WRAPPERS, lambda file: iter([file.read()])])
def test_a_request_ends_when_its_response_is_closed(
    wrapper: Any, end: Callable[[Callable[[], object]], None]
) -> None:
    """Whatever it is, and wherever: spools and count are there until then, and not after.

    Its place is free before: the body has been read, and how long a client takes for a response is
    no matter of uploads.

    A file wrapper stays one: the server knows it by its type and sends the file by itself.
    """
    spools: list[Spool] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        spool = Spool()
        spools.extend([spool, Spool()])
        spool.write(environ["wsgi.input"].read())
        spool.seek(0)
        start_response("200 OK", [])
        return wrapper(spool)

    wrapped = CooperativeUploadMiddleware(application, max_uploads=1, **WITHOUT_PATCH)
    asked = environ(DATA)
    asked["wsgi.file_wrapper"] = wrapper
    before = upload_statistics()

    def number_of(name: str) -> int:
        return upload_statistics()[name] - before[name]

    def request() -> None:
        response: Any = wrapped(asked, lambda *_: None)
        if wrapper in WRAPPERS and wrapper is not SlottedWrapper:
            assert type(response) is wrapper
        assert (number_of("uploads"), number_of("complete")) == (1, 0)
        assert wsgi.call(wrapped, environ(DATA)).status == 200
        assert b"".join(response) == DATA
        assert not any(spool.closed for spool in spools[:2])
        end(response.close)
        assert [spool.closed for spool in spools[:2]] == [True, True]
        assert (number_of("uploads"), number_of("complete")) == (0, 2)
        assert wsgi.call(wrapped, environ(DATA)).status == 200
        response.close()  # once more, as some servers do
        assert (number_of("uploads"), number_of("complete")) == (0, 3)

    with hub_scheduler(), hub_writer():
        in_greenlet(request)


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the arguments, with the environment before them; a wrong one is named."""
    assert CooperativeUploadMiddleware(count_body, slice_ms=2.0).settings.slice_ms == 2.0
    monkeypatch.setenv("COOPERATIVE_UPLOAD_SLICE_MS", "3")
    assert CooperativeUploadMiddleware(count_body, slice_ms=2.0).settings.slice_ms == 3.0
    with pytest.raises(SettingsError, match="did you mean slice_ms"):
        CooperativeUploadMiddleware(count_body, slice_mss=2.0)
    with pytest.raises(SettingsError, match="deadline_ms: expected a number"):
        CooperativeUploadMiddleware(count_body, deadline_ms="x")


def test_werkzeug_is_patched_unless_told_otherwise() -> None:
    """One line gives a Flask application its cooperative temporary files too."""
    before = werkzeug.formparser.default_stream_factory
    CooperativeUploadMiddleware(count_body, **WITHOUT_PATCH)
    assert werkzeug.formparser.default_stream_factory is before
    CooperativeUploadMiddleware(count_body)
    assert isinstance(werkzeug.formparser.default_stream_factory(1, None, None), Spool)
