"""Other ways in: Unix sockets, the uwsgi protocol and the PROXY protocol."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from http_client import (
    FORM_TYPE,
    Connection,
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
from uwsgi import uwsgi_packet

SIZES = [0, 1, 65_536, 65_537, 2_000_000]


@pytest.fixture(scope="module")
def unix_server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    with LiveServer(gunicorn, unix=True) as server:
        yield server
        assert "Traceback" not in server.log()


@pytest.mark.parametrize("size", SIZES)
def test_unix_socket(unix_server: LiveServer, size: int) -> None:
    """Uploads over a Unix socket arrive whole, and a truncated one is a 400."""
    part = Part("file", content(size), "f.bin")
    with unix_server.connect() as connection:
        assert connection.post_form("/form", part).json() == form_description(part)
        assert connection.post("/data", part.content).json() == data_description(part.content)
        body = chunked(pieces_of(part.content, 9999))
        response = connection.post("/data", body, {"Transfer-Encoding": "chunked"})
        assert response.json() == data_description(part.content)
        connection.send(request("POST", "/form", form(part), {"Content-Type": FORM_TYPE})[:-1])
        connection.end_sending()
        assert connection.response().status == 400
        assert connection.is_closed()


@pytest.fixture(scope="module")
def uwsgi_server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    with LiveServer(gunicorn, "--protocol", "uwsgi", ready=lambda server: server.port) as server:
        yield server
        assert not server.own_tracebacks()


@pytest.mark.parametrize("size", SIZES)
def test_uwsgi_protocol(uwsgi_server: LiveServer, size: int) -> None:
    """Requests with bodies, one after another on a connection, arrive whole."""
    part = Part("file", content(size), "f.bin")
    with uwsgi_server.connect() as connection:
        connection.send(uwsgi_packet("POST", "/data", part.content))
        assert connection.response().json() == data_description(part.content)
        connection.send(uwsgi_packet("POST", "/unread", part.content[:200_000]))
        assert connection.response().body == b"unread"
        connection.send(uwsgi_packet("GET", "/ping", b""))
        assert connection.response().body == b"pong"
        connection.send(uwsgi_packet("POST", "/form", form(part), FORM_TYPE))
        assert connection.response().json() == form_description(part)


@pytest.mark.parametrize("path", ["/form", "/data", "/limited/form", "/plain"])
@pytest.mark.parametrize("missing", [1, 100_000, 700_000])
def test_uwsgi_upload_that_ends_early_is_a_400(
    uwsgi_server: LiveServer, path: str, missing: int
) -> None:
    """The length in the packet's variables is held to like a Content-Length."""
    body = form(Part("file", content(700_000), "f.bin"))
    with uwsgi_server.connect() as connection:
        connection.send(uwsgi_packet("POST", path, body, FORM_TYPE)[:-missing])
        connection.end_sending()
        response = connection.response()
        assert response.status == 400
        expected = f"received {len(body) - missing:,} of {len(body):,} bytes"
        assert expected in response.body.decode()
        assert connection.is_closed()


def test_proxy_protocol(gunicorn: Gunicorn) -> None:
    """The line before the first request is not part of it, nor of the uploads that follow."""

    def ready(server: LiveServer) -> object:
        return server.port

    part = Part("file", content(1_000_000), "f.bin")
    with LiveServer(gunicorn, "--proxy-protocol", "v1", ready=ready) as server:
        with Connection(server.connect_socket()) as connection:
            connection.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n")
            for _ in range(2):
                assert connection.post_form("/form", part).json() == form_description(part)
                response = connection.post("/data", part.content)
                assert response.json() == data_description(part.content)
            connection.ping()
        assert "Traceback" not in server.log()
