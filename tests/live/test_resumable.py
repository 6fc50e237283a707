"""Resumable uploads on real servers: interim responses, trailers, and requests that meet."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
from counters import statistics
from http_client import Connection, Response, chunked, content, head, pieces_of, sha256
from live_server import Certificate, Gunicorn, LiveServer, wait_until
from nginx import needs_nginx, nginx_with
from other_servers import WAITRESS, live
from uploads_in_process import BYTES, PART, TUS, id_in

T = TypeVar("T")

MIB = 1 << 20
DATA = content(3 * MIB)
DRAFT = {"Upload-Draft-Interop-Version": "10"}


@pytest.fixture(scope="module")
def server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    """A check that takes longer than a moment is not waited for."""
    waiting = {"COOPERATIVE_UPLOAD_UPLOAD_CHECK_WAIT_SECONDS": "1"}
    with LiveServer(
        gunicorn, application="uploads_application:application", environment=waiting
    ) as server:
        yield server


def ask(
    connection: Connection,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
) -> Response:
    connection.send_request(method, path, body, headers)
    return connection.response(bodiless=method == "HEAD")


def begin(connection: Connection, size: int = len(DATA), name: str = "file") -> str:
    """The path of a new upload of tus."""
    encoded = base64.b64encode(name.encode()).decode()
    headers = {**TUS, "Upload-Length": str(size), "Upload-Metadata": f"filename {encoded}"}
    response = ask(connection, "POST", "/files", headers, b"")
    assert response.status == 201, response
    return f"/{response.headers['location']}"


def offset_of(connection: Connection, path: str) -> int:
    response = ask(connection, "HEAD", path, TUS)
    assert response.status in (200, 204), response
    return int(response.headers["upload-offset"])


def send(connection: Connection, path: str, offset: int, data: bytes, **more: str) -> Response:
    headers = {**BYTES, "Upload-Offset": str(offset), **more}
    return ask(connection, "PATCH", path, headers, data)


def check_stored(connection: Connection, path: str, data: bytes = DATA) -> None:
    connection.send_request("GET", f"/stored/{id_in(path)}")
    found = connection.response().json()
    assert (found["size"], found["sha256"]) == (len(data), sha256(data))


# 104


def test_the_address_comes_before_the_content(server: LiveServer) -> None:
    """While nothing of the content was sent."""
    with server.connect() as connection:
        headers = {**DRAFT, "Upload-Complete": "?1", "Content-Length": str(len(DATA))}
        connection.send(head("POST", "/files", headers))
        interim = connection.response()
        assert interim.status == 104
        assert interim.headers["upload-draft-interop-version"] == "10"
        path = f"/{interim.headers['location']}"
        connection.send(DATA)
        response = connection.response()
        assert (response.status, response.headers["upload-complete"]) == (200, "?1")
        assert json.loads(response.body)["id"] == id_in(path)
        check_stored(connection, path)


def test_continue_comes_beside_it(server: LiveServer) -> None:
    """RFC 9110: who waits for a 100 is not answered by a 104."""
    with server.connect() as connection:
        headers = {**DRAFT, "Upload-Complete": "?1", "Content-Length": "3"}
        connection.send(head("POST", "/files", {**headers, "Expect": "100-continue"}))
        assert {connection.response().status, connection.response().status} == {100, 104}
        connection.send(b"012")
        assert connection.response().status == 200


def test_none_for_who_could_not_read_it(server: LiveServer) -> None:
    """HTTP/1.0, and requests without the draft's number."""
    with server.connect() as connection:
        headers = {"Upload-Complete": "?0"}
        assert ask(connection, "POST", "/files", headers, b"012").status == 201
        connection.send_request(
            "POST", "/files", b"012", {**DRAFT, "Upload-Complete": "?0"}, version="1.0"
        )
        assert connection.response().status == 201


def test_over_http2(gunicorn: Gunicorn, certificate: Certificate) -> None:
    options = ("--http-protocols", "h2,h1")
    with LiveServer(
        gunicorn,
        *options,
        application="uploads_application:application",
        certificate=certificate,
    ) as server:
        command = [
            *("curl", "--silent", "--show-error", "--include", "--http2", "--max-time", "20"),
            *("--cacert", str(certificate.authority), "--header", "Upload-Complete: ?1"),
            *("--header", "Upload-Draft-Interop-Version: 10", "--data-binary", "@-"),
            server.url + "/files",
        ]
        done = subprocess.run(command, input=DATA, capture_output=True, check=True)
        interim, final, body = done.stdout.decode().split("\r\n\r\n")
        assert interim.startswith("HTTP/2 104")
        location = dict(line.split(": ", 1) for line in interim.split("\r\n")[1:])["location"]
        assert final.startswith("HTTP/2 200")
        assert json.loads(body)["id"] == id_in(location)
        with server.connect() as connection:
            check_stored(connection, location)


# Trailers


def test_a_checksum_behind_the_content(server: LiveServer) -> None:
    """A wrong one leaves nothing of it."""
    with server.connect() as connection:
        path = begin(connection)
        before = statistics(server)
        digest = base64.b64encode(hashlib.sha1(DATA).digest())
        for offset, trailer, status in ((0, b"A" * 27 + b"=", 460), (0, digest, 204)):
            headers = {
                **BYTES,
                "Upload-Offset": str(offset),
                "Trailer": "Upload-Checksum",
                "Transfer-Encoding": "chunked",
            }
            body = chunked(
                pieces_of(DATA, MIB), trailers=b"Upload-Checksum: sha1 %s\r\n" % trailer
            )
            assert ask(connection, "PATCH", path, headers, body).status == status
        assert statistics(server)["corrupt"] == before["corrupt"] + 1
        check_stored(connection, path)
        options = ask(connection, "OPTIONS", "/files", {})
        assert "checksum-trailer" in options.headers["tus-extension"]


# Requests that meet


def test_a_newer_request_goes_on_at_once(server: LiveServer) -> None:
    """The older one hangs: its client has gone, and nobody knows it."""
    before = statistics(server)["uploads_superseded"]
    with server.connect() as old, server.connect() as new:
        path = begin(new)
        headers = {**BYTES, "Upload-Offset": "0", "Content-Length": str(len(DATA))}
        old.send(head("PATCH", path, headers) + DATA[:MIB])
        wait_until(lambda: statistics(server)["uploads"] == 1, "the older one is there")

        def goes_on() -> bool:
            """As clients do: who meets the older one as it begins is told so, and asks again."""
            with server.connect() as newer:
                offset = offset_of(newer, path)
                assert offset <= MIB
                return send(newer, path, offset, DATA[offset:]).status == 204

        wait_until(goes_on, "the newer one has it")
        check_stored(new, path)
        answer = old.response_or_none()
        assert answer is None or answer.status == 409
    assert statistics(server)["uploads_superseded"] > before


def test_two_requests_at_the_same_moment(server: LiveServer) -> None:
    """One of them writes, the other one is told; the content is right."""
    with server.connect() as one, server.connect() as other:
        path = begin(one)
        headers = {**BYTES, "Upload-Offset": "0"}
        one.send_request("PATCH", path, DATA, headers)
        other.send_request("PATCH", path, DATA, headers)
        statuses = [answer.status for c in (one, other) if (answer := c.response_or_none())]
        assert set(statuses) <= {204, 409, 403}
        with server.connect() as connection:
            offset = offset_of(connection, path)
            if offset < len(DATA):
                assert send(connection, path, offset, DATA[offset:]).status == 204
            check_stored(connection, path)


# The end


def test_a_check_that_takes_long(server: LiveServer) -> None:
    """The last byte is acknowledged when all is done; until then: ask again."""
    (server.directory / "go-on").unlink(missing_ok=True)
    with server.connect() as connection:
        path = begin(connection, 3, "slow")
        response = send(connection, path, 0, b"012")
        assert (response.status, response.headers["retry-after"]) == (423, "1")
        assert ask(connection, "HEAD", path, TUS).status == 423
        (server.directory / "go-on").touch()
        wait_until(lambda: ask(connection, "HEAD", path, TUS).status == 200, "the check has ended")
        check_stored(connection, path, b"012")


def test_who_asks_again_for_the_end_gets_the_same(server: LiveServer) -> None:
    with server.connect() as connection:
        response = ask(connection, "POST", "/files", {"Upload-Complete": "?0"}, b"")
        path = f"/{response.headers['location']}"
        headers = {**PART, "Upload-Complete": "?1"}
        first = ask(connection, "PATCH", path, {**headers, "Upload-Offset": "0"}, DATA)
        again = {**headers, "Upload-Offset": str(len(DATA))}
        assert ask(connection, "PATCH", path, again, b"").body == first.body


# Other servers


@pytest.mark.parametrize("kind", ["gevent", "gevent_pywsgi", "sync", "gthread", WAITRESS])
def test_on_other_servers(newest: Gunicorn, kind: str) -> None:
    """By the wrapper where there is a hub; elsewhere as any WSGI application."""
    with live(newest, kind, "uploads_application:wrapped") as server:
        path = alone(server, begin)
        assert alone(server, send, path, 0, DATA[:MIB]).status == 204
        with server.connect() as connection:
            length = {"Upload-Offset": str(MIB), "Content-Length": str(2 * MIB)}
            connection.send(head("PATCH", path, {**BYTES, **length}) + DATA[MIB : MIB + 1000])
            connection.vanish()
        offset = alone(server, offset_of, path)
        assert offset >= MIB
        assert alone(server, send, path, offset, DATA[offset:]).status == 204
        alone(server, check_stored, path)


def alone(server: LiveServer, what: Callable[..., T], *arguments: Any) -> T:
    """On a connection of its own: not every server keeps one."""
    with server.connect() as connection:
        return what(connection, *arguments)


@needs_nginx
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_behind_nginx(server: LiveServer, tmp_path: Path, version: str) -> None:
    """It speaks HTTP/1.0 to the server unless it is told otherwise: there is no 104 then."""
    directives = f"""
        client_max_body_size 0;
        location / {{
            proxy_pass http://127.0.0.1:{server.port};
            proxy_http_version {version};
            proxy_request_buffering off;
        }}
    """
    with nginx_with(directives, tmp_path) as port:
        command = [
            *("curl", "--silent", "--show-error", "--include", "--max-time", "20"),
            *("--header", "Upload-Complete: ?1", "--header", "Expect:", "--data-binary", "@-"),
            *("--header", "Upload-Draft-Interop-Version: 10", f"http://127.0.0.1:{port}/files"),
        ]
        done = subprocess.run(command, input=DATA, capture_output=True, check=True)
        *_, final, body = done.stdout.decode().split("\r\n\r\n")
        assert final.startswith("HTTP/1.1 200")
        assert json.loads(body)["size"] == len(DATA)
        assert (b"HTTP/1.1 104" in done.stdout) == (version == "1.1")
