"""What docs/frameworks.md says of other frameworks, tried under our worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from framework_applications import REFUSED
from http_client import (
    FORM_TYPE,
    Part,
    chunk,
    chunked,
    content,
    data_description,
    form,
    form_description,
    head,
    pieces_of,
)
from live_server import COOPERATIVE, STOCK, Gunicorn, LiveServer, wait_until
from uploads import ANNOUNCED, EndlessUpload

FRAMEWORKS = ["bottle", "django", "falcon", "webob"]

CHUNKED = {"Transfer-Encoding": "chunked"}
CHUNKED_FORM = {**CHUNKED, "Content-Type": FORM_TYPE}
PARTS = [
    Part("title", b"a title"),
    Part("file", content(3_000_000), "large.bin"),
    Part("small", content(1000, seed=1), "small.bin"),
    Part("empty", b"", "empty.bin"),
]
FORM = form(*PARTS)
DATA = content(2_000_000)
ARRIVED = 600_000


def serve(gunicorn: Gunicorn, framework: str, arguments: str = "") -> LiveServer:
    application = f"framework_applications:{framework}_application({arguments})"
    return LiveServer(gunicorn, application=application)


class Served(NamedTuple):
    framework: str
    server: LiveServer


@pytest.fixture(scope="module", params=FRAMEWORKS)
def shared(request: pytest.FixtureRequest, newest: Gunicorn) -> Iterator[Served]:
    with serve(newest, request.param) as server:
        yield Served(request.param, server)


@pytest.fixture
def served(shared: Served) -> Iterator[Served]:
    """A server with one framework's application; no test may leave a temporary file open."""
    yield shared
    (worker,) = shared.server.workers()
    wait_until(lambda: not shared.server.spooled_descriptors(worker), "all files are closed")


def of(*frameworks: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("shared", frameworks, indirect=True)


# As it is.


def test_forms_and_raw_bodies(served: Served) -> None:
    """Arrive as they were sent, and the connection lives on."""
    with served.server.connect() as connection:
        assert connection.post_form("/form", *PARTS).json() == form_description(*PARTS)
        assert connection.post("/data", DATA).json() == data_description(DATA)
        connection.ping()


def test_small_requests_beside_an_upload(served: Served) -> None:
    """However the framework reads, it does so in turns."""
    with EndlessUpload(served.server, "/data") as upload:
        upload.wait_for(3_000_000)
        with served.server.connect() as connection:
            for _ in range(30):
                connection.ping()
        upload.wait_for(3_000_000)
        response = upload.finish()
    assert response.status == 400
    assert f"received {upload.sent:,} of {ANNOUNCED:,} bytes" in response.body.decode()


@pytest.mark.parametrize("path", ["/form", "/data"])
def test_bodies_that_break_off(served: Served, path: str) -> None:
    """A 400 that says how far it came, and never a part for the whole."""
    headers = {"Content-Length": str(len(FORM)), "Content-Type": FORM_TYPE}
    with served.server.connect() as connection:
        connection.send(head("POST", path, headers) + FORM[:ARRIVED])
        connection.end_sending()
        response = connection.response()
        assert response.status == 400
        assert f"received 600,000 of {len(FORM):,} bytes" in response.body.decode()
        assert connection.is_closed()


def test_refusals(served: Served) -> None:
    """They arrive while the client still sends."""
    with served.server.connect() as connection:
        response = connection.post("/refuse", content(20_000_000))
        assert response.status == 403
        assert REFUSED in response.body.decode()
        assert connection.is_closed()


def test_receive(served: Served, tmp_path: Path) -> None:
    """Works the same in every framework, with either framing."""
    target = tmp_path / "target"
    for body, headers in ((DATA, {}), (chunked(pieces_of(DATA, 50_000)), CHUNKED)):
        with served.server.connect() as connection:
            connection.send_request("PUT", f"/receive?to={target}", body, headers)
            assert connection.response().json() == data_description(DATA)
        assert target.read_bytes() == DATA
        target.unlink()


def test_body_that_the_framework_has_read(served: Served, tmp_path: Path) -> None:
    """Is not an empty one: a 500 and its reason in the log, and the file stays."""
    target = tmp_path / "target"
    target.write_bytes(b"old")
    with served.server.connect() as connection:
        connection.send_request("PUT", f"/read-first?to={target}", DATA)
        assert connection.response().status == 500
    assert target.read_bytes() == b"old"
    if served.framework != "django":  # whose log goes to the administrators by mail
        wait_until(lambda: READ_FIRST in served.server.log(), "the reason in the log")


READ_FIRST = "receive() needs the whole request body, and 2,000,000"


# What needs a line.


@pytest.mark.parametrize("framework", ["bottle", "django", "falcon"])
def test_the_line_is_needed(newest: Gunicorn, framework: str) -> None:
    """Without it a body that breaks off is a 500: an error still, but not the client's.

    If this fails, the framework has changed, and the documentation can do without the line.
    """
    with serve(newest, framework, "False") as server, server.connect() as connection:
        connection.send(head("POST", "/data", {"Content-Length": str(len(DATA))}) + DATA[:ARRIVED])
        connection.end_sending()
        assert connection.response().status == 500


# Chunks.


def chunks_of(body: bytes) -> bytes:
    return chunked(pieces_of(body, 50_000))


@of("webob")
def test_chunks_in_webob(served: Served) -> None:
    """Are read to their end, and are an error without it."""
    with served.server.connect() as connection:
        response = connection.post("/form", chunks_of(FORM), CHUNKED_FORM)
        assert response.json() == form_description(*PARTS)
        response = connection.post("/data", chunks_of(DATA), CHUNKED)
        assert response.json() == data_description(DATA)
        connection.send(head("POST", "/data", CHUNKED) + chunk(DATA[:ARRIVED]))
        connection.end_sending()
        assert connection.response().status == 400


@of("falcon")
def test_chunks_in_falcon(served: Served) -> None:
    """As a stream they are read to their end; its forms want a length."""
    with served.server.connect() as connection:
        response = connection.post("/data", chunks_of(DATA), CHUNKED)
        assert response.json() == data_description(DATA)
        assert connection.post("/form", chunks_of(FORM), CHUNKED_FORM).status == 500


@of("bottle")
def test_chunks_in_bottle(served: Served) -> None:
    """It decodes what the server has decoded already."""
    for path, body in (("/form", FORM), ("/data", DATA)):
        with served.server.connect() as connection:
            response = connection.post(path, chunks_of(body), CHUNKED_FORM)
            assert response.status == 400


@of("django")
def test_chunks_in_django(served: Served) -> None:
    """It takes them for no body."""
    with served.server.connect() as connection:
        response = connection.post("/form", chunks_of(FORM), CHUNKED_FORM)
        assert response.json() == {"fields": [], "files": []}


# Django's temporary files.


@of("django")
@pytest.mark.parametrize("size", [0, 1000, 3_000_000])
def test_files_in_django(served: Served, tmp_path: Path, size: int) -> None:
    """Are Spools; saved by themselves, and by Django's storage."""
    part = Part("file", content(size), "file.bin")
    saving: list[tuple[str, str, Callable[[], Path]]] = [
        (f"/save?to={tmp_path / 'saved'}", "SpooledFile", lambda: tmp_path / "saved"),
        (f"/store?to={tmp_path}", "stored", lambda: tmp_path / "stored"),
    ]
    for path, answer, target in saving:
        with served.server.connect() as connection:
            assert connection.post_form(path, part).body.decode() == answer
        assert target().read_bytes() == part.content


@pytest.mark.parametrize("worker", [COOPERATIVE, STOCK])
@pytest.mark.parametrize("size", [0, 1000, 3_000_000])
def test_a_file_that_django_sends_back(newest: Gunicorn, worker: str, size: int) -> None:
    """A FileResponse, which the server sends after the application has returned."""
    part = Part("file", content(size), "file.bin")
    name = {COOPERATIVE: "django_application", STOCK: "wrapped_django_application"}[worker]
    application = f"framework_applications:{name}()"
    with LiveServer(newest, application=application, worker=worker) as server:
        with server.connect() as connection:
            response = connection.post_form("/send_back", part)
        assert (response.status, response.body) == (200, part.content)
        (process,) = server.workers()
        wait_until(lambda: not server.spooled_descriptors(process), "all files are closed")


@of("django")
def test_a_form_that_breaks_off_in_django(served: Served) -> None:
    """Leaves no temporary file, whether within one or behind one."""
    (worker,) = served.server.workers()

    def spools() -> int:
        return len(served.server.spooled_descriptors(worker))

    headers = {"Content-Length": str(len(FORM)), "Content-Type": FORM_TYPE}
    for arrived in (ARRIVED, len(FORM) - 10):
        with served.server.connect() as connection:
            connection.send(head("POST", "/form", headers) + FORM[:arrived])
            wait_until(lambda: spools() > 0, "a spool on disk")
            connection.end_sending()
            assert connection.response().status == 400
            wait_until(lambda: spools() == 0, "it is closed")
