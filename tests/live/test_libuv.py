"""gevent's other event loop, which knows no priorities: the same promises."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from http_client import (
    FORM_TYPE,
    Part,
    chunked,
    content,
    data_description,
    form,
    form_description,
    pieces_of,
    request,
)
from live_server import Gunicorn, LiveServer
from uploads import EndlessUpload, HalfUpload


@pytest.fixture(scope="module")
def libuv_server(newest: Gunicorn) -> Iterator[LiveServer]:
    # The newest alone: the loop needs cffi, which nothing brings into the oldest environment.
    with LiveServer(newest, environment={"GEVENT_LOOP": "libuv-cffi"}) as server:
        yield server
        assert "Traceback" not in server.log()


def test_the_loop_is_libuv(libuv_server: LiveServer) -> None:
    """Or else this file would test nothing."""
    with libuv_server.connect() as connection:
        connection.send_request("GET", "/loop")
        assert "libuv" in connection.response().body.decode()


@pytest.mark.parametrize("size", [0, 1, 65_537, 512_001, 5_000_000])
def test_uploads_arrive_whole(libuv_server: LiveServer, size: int) -> None:
    """In both framings."""
    part = Part("file", content(size), "f.bin")
    with libuv_server.connect() as connection:
        assert connection.post_form("/form", part).json() == form_description(part)
        assert connection.post("/data", part.content).json() == data_description(part.content)
        body = chunked(pieces_of(part.content, 9999))
        response = connection.post("/data", body, {"Transfer-Encoding": "chunked"})
        assert response.json() == data_description(part.content)


def test_truncated_form_is_a_400(libuv_server: LiveServer) -> None:
    """Never a success."""
    body = form(Part("file", content(700_000), "f.bin"))
    with libuv_server.connect() as connection:
        connection.send(request("POST", "/form", body, {"Content-Type": FORM_TYPE})[:-1])
        connection.end_sending()
        assert connection.response().status == 400


@pytest.mark.parametrize("as_form", [True, False])
def test_small_requests_beside_an_endless_upload(libuv_server: LiveServer, as_form: bool) -> None:
    """They are answered, the upload goes on, and a stalled one holds up neither."""
    path = "/sizes" if as_form else "/stream?read=1000"
    with (
        HalfUpload(libuv_server) as stalled,
        EndlessUpload(libuv_server, path, as_form=as_form) as upload,
    ):
        upload.wait_for(5_000_000)
        with libuv_server.connect() as connection:
            for _ in range(50):
                connection.ping()
        upload.wait_for(5_000_000)
        assert upload.finish().status == (200 if as_form else 400)
        assert stalled.finish().json() == form_description(stalled.part)
