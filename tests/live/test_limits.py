"""Limits on the size of bodies and on the number of uploads at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import other_clients
import pytest
from counters import counted
from http2_client import Http2Connection
from http_client import (
    FORM_TYPE,
    Part,
    Response,
    chunk,
    chunked,
    content,
    data_description,
    form,
    head,
    pieces_of,
)
from live_server import Certificate, Gunicorn, LiveServer, wait_until
from other_clients import Upload

APPLICATION = "ending_application:application"
CHUNKED = {"Transfer-Encoding": "chunked"}

# Sizes

MOST = 1_000_000
MOST_URLENCODED = 100_000
MOST_JSON = 50_000
SIZES = {
    "COOPERATIVE_UPLOAD_MAX_BODY_BYTES": str(MOST),
    "COOPERATIVE_UPLOAD_MAX_URLENCODED_BYTES": str(MOST_URLENCODED),
    "COOPERATIVE_UPLOAD_MAX_JSON_BYTES": str(MOST_JSON),
}
LIMITS = [
    ("application/octet-stream", MOST),
    (FORM_TYPE, MOST),
    ("application/x-www-form-urlencoded", MOST),
    ("application/json", MOST),
]
URLENCODED = "application/x-www-form-urlencoded"


class ParsedInOneGo(NamedTuple):
    """A view that has werkzeug parse the body, and the largest that it may."""

    path: str
    content_type: str
    limit: int
    body: bytes

    @property
    def body_over_the_limit(self) -> bytes:
        return self.body[:3] + b"1" + self.body[3:]


FORM_AT_THE_LIMIT = b"a=1&b=" + b"2" * (MOST_URLENCODED - 6)
JSON_AT_THE_LIMIT = b'["' + b"x" * (MOST_JSON - 4) + b'"]'
PARSED = [
    ParsedInOneGo("/fields", URLENCODED, MOST_URLENCODED, FORM_AT_THE_LIMIT),
    ParsedInOneGo(
        "/limited/fields",
        "Application/X-WWW-Form-URLencoded; charset=utf-8",
        MOST_URLENCODED,
        FORM_AT_THE_LIMIT,
    ),
    ParsedInOneGo("/json", "application/json", MOST_JSON, JSON_AT_THE_LIMIT),
    ParsedInOneGo("/limited/json", "application/problem+json", MOST_JSON, JSON_AT_THE_LIMIT),
]
parsed_in_one_go = pytest.mark.parametrize("parsed", PARSED, ids=lambda parsed: parsed.path)


@pytest.fixture(scope="module")
def size_server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    with LiveServer(gunicorn, application=APPLICATION, environment=SIZES) as server:
        yield server
        assert "Traceback" not in server.log()


def number_caught(server: LiveServer) -> int:
    """How many times the view of POST /catch has seen an error."""
    return len(caught(server))


def caught(server: LiveServer) -> Any:
    with server.connect() as connection:
        connection.send_request("GET", "/caught")
        return connection.response().json()


def check_too_large(response: Response, size: str, limit: int) -> None:
    text = response.body.decode()
    assert response.status == 413, text
    assert f"got {size} bytes, accepted are at most {limit:,}." in text
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize(("content_type", "limit"), LIMITS)
def test_content_length_over_the_limit(
    size_server: LiveServer, content_type: str, limit: int
) -> None:
    """The application is not called, and the client is not asked for a byte."""
    before = number_caught(size_server)
    for size, expect in ((limit + 1, {}), (1 << 40, {"Expect": "100-continue"})):
        headers = {"Content-Length": str(size), "Content-Type": content_type, **expect}
        with counted(size_server, too_large=1, bytes=0), size_server.connect() as connection:
            connection.send(head("POST", "/catch", headers))
            check_too_large(connection.response(), f"{size:,}", limit)
            assert connection.is_closed()
    assert number_caught(size_server) == before
    assert f"Upload too large: POST /catch from 127.0.0.1, 0 of {1 << 40:,}" in size_server.log()


@pytest.mark.parametrize(("content_type", "limit"), LIMITS)
def test_chunks_over_the_limit(size_server: LiveServer, content_type: str, limit: int) -> None:
    """Are counted, and the application sees the error at the read that passes the limit."""
    before = number_caught(size_server)
    headers = {**CHUNKED, "Content-Type": content_type}
    body = chunked(pieces_of(content(limit + 1), 30_000))
    with counted(size_server, too_large=1), size_server.connect() as connection:
        connection.send(head("POST", "/catch", headers) + body)
        check_too_large(connection.response(), f"more than {limit:,}", limit)
        assert connection.is_closed()
    assert number_caught(size_server) == before + 1
    error = {"class": "BodyTooLarge", "limit": limit, "expected": None}
    assert error.items() <= caught(size_server)[-1].items()


@pytest.mark.parametrize(("content_type", "limit"), LIMITS)
def test_body_as_large_as_the_limit(
    size_server: LiveServer, content_type: str, limit: int
) -> None:
    """Is accepted in both framings."""
    body = content(limit)
    headers = {"Content-Type": content_type}
    with counted(size_server, complete=2), size_server.connect() as connection:
        response = connection.post("/stream", body, headers)
        assert response.json() == data_description(body)
        chunks = chunked(pieces_of(body, 30_000))
        response = connection.post("/stream", chunks, {**headers, **CHUNKED})
        assert response.json() == data_description(body)


@parsed_in_one_go
def test_parsing_over_the_limit(size_server: LiveServer, parsed: ParsedInOneGo) -> None:
    """The client is not asked for a byte, and werkzeug's parser not for its opinion."""
    for size, expect in ((parsed.limit + 1, {}), (MOST, {"Expect": "100-continue"})):
        headers = {"Content-Length": str(size), "Content-Type": parsed.content_type, **expect}
        with counted(size_server, too_large=1, bytes=0), size_server.connect() as connection:
            connection.send(head("POST", parsed.path, headers))
            check_too_large(connection.response(), f"{size:,}", parsed.limit)
            assert connection.is_closed()
    assert f"Upload too large: POST {parsed.path} from 127.0.0.1, 0 of" in size_server.log()


@parsed_in_one_go
def test_parsing_chunks_over_the_limit(size_server: LiveServer, parsed: ParsedInOneGo) -> None:
    """They are counted, and what comes behind the limit is thrown away."""
    headers = {**CHUNKED, "Content-Type": parsed.content_type}
    body = chunked(pieces_of(parsed.body_over_the_limit + content(600_000), 30_000))
    with counted(size_server, too_large=1), size_server.connect() as connection:
        connection.send(head("POST", parsed.path, headers) + body)
        check_too_large(connection.response(), f"more than {parsed.limit:,}", parsed.limit)
        assert connection.is_closed()


@parsed_in_one_go
def test_parsing_at_the_limit(size_server: LiveServer, parsed: ParsedInOneGo) -> None:
    """Both framings are parsed."""
    headers = {"Content-Type": parsed.content_type}
    with counted(size_server, complete=2), size_server.connect() as connection:
        answer = connection.post(parsed.path, parsed.body, headers)
        assert answer.status == 200
        chunks = chunked(pieces_of(parsed.body, 30_000))
        again = connection.post(parsed.path, chunks, {**headers, **CHUNKED})
        assert again.json() == answer.json()


RAW_CLIENTS = {
    "curl": ["curl", "-sS", "-X", "POST", "--data-binary", "@{file}"],
    "wget": ["wget", "-q", "-O", "-", "--post-file={file}"],
    "urllib": [
        sys.executable,
        "-c",
        "import sys, urllib.request as r; data = open('{file}', 'rb').read();"
        "sys.stdout.write(r.urlopen(r.Request(sys.argv[1], data)).read().decode())",
    ],
}


@pytest.mark.parametrize("path", ["/stream", "/data"])
@pytest.mark.parametrize("client", RAW_CLIENTS.values(), ids=RAW_CLIENTS)
def test_raw_body_that_is_called_a_form(
    server: LiveServer, tmp_path: Path, client: list[str], path: str
) -> None:
    """What these clients say of any body does not limit one that nobody parses."""
    if shutil.which(client[0]) is None:
        pytest.skip(f"needs {client[0]}")
    body = content(5_000_000)
    (tmp_path / "file").write_bytes(body)
    command = [word.replace("{file}", str(tmp_path / "file")) for word in client]
    command.append(f"http://127.0.0.1:{server.port}{path}")
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout) == data_description(body)


@pytest.mark.parametrize("types", [[URLENCODED, "text/plain"], ["text/plain", URLENCODED]])
def test_two_content_types(size_server: LiveServer, types: list[str]) -> None:
    """gunicorn 27 refuses them. Where it does not, the limit goes by the one that is parsed."""
    body = b"a=1&" * (MOST_URLENCODED // 4 + 1)
    fields = [("Host", "localhost"), ("Content-Length", str(len(body)))]
    fields += [("Content-Type", each) for each in types]
    lines = ["POST /fields HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
    with size_server.connect() as connection:
        connection.send("\r\n".join(lines).encode() + body)
        response = connection.response()
    if size_server.gunicorn.version >= (25, 1) and response.status == 400:
        return
    if types[-1] == URLENCODED:
        check_too_large(response, f"{len(body):,}", MOST_URLENCODED)
    else:
        assert response.json() == {"fields": 0}


def test_form_in_chunks_over_the_limit(size_server: LiveServer) -> None:
    """werkzeug's parser lets the error through, and the spool is freed."""
    body = form(Part("file", content(MOST), "f.bin"))
    with counted(size_server, too_large=1), size_server.connect() as connection:
        headers = {**CHUNKED, "Content-Type": FORM_TYPE}
        connection.send(head("POST", "/form", headers) + chunked(pieces_of(body, 30_000)))
        check_too_large(connection.response(), f"more than {MOST:,}", MOST)
    (worker,) = size_server.workers()
    wait_until(lambda: not size_server.spooled_descriptors(worker), "the spool is closed")


@pytest.mark.parametrize(
    "client",
    [
        other_clients.curl_that_does_not_ask,
        other_clients.curl_in_chunks,
        other_clients.standard_library,
        other_clients.standard_library_in_chunks,
    ],
    ids=lambda client: client.__name__,
)
def test_client_that_sends_all_the_same_gets_the_sentence(
    size_server: LiveServer, certificate: Certificate, client: Any
) -> None:
    """Whatever comes behind the limit is thrown away."""
    upload = Upload(size_server, certificate, "/data", content(20_000_000))
    for _ in range(3):
        answer = client(upload)
        assert answer.status == 413
        assert f"accepted are at most {MOST:,}." in answer.text


def test_errorhandler_of_flask(size_server: LiveServer) -> None:
    """A body that is too large by counting is the application's to answer, as any 413."""
    with size_server.connect() as connection:
        connection.send(head("POST", "/handled/data", CHUNKED) + chunk(content(MOST + 1)))
        response = connection.response()
        assert response.status == 413
        assert response.headers["content-type"] == "application/json"
        assert b'"class":"BodyTooLarge"' in response.body
        assert connection.is_closed()


def test_urlencoded_form_is_limited_by_default(server: LiveServer) -> None:
    """To 2 MiB; other bodies are not limited."""
    size = 2 * 1024 * 1024 + 1
    headers = {"Content-Type": URLENCODED, "Content-Length": str(size)}
    with server.connect() as connection:
        connection.send(head("POST", "/form", headers))
        check_too_large(connection.response(), f"{size:,}", size - 1)
    body = content(size)
    with server.connect() as connection:
        response = connection.post("/data", body, {"Content-Type": "application/json"})
        assert response.json() == data_description(body)


def test_http2_body_over_the_limit(newest: Gunicorn, certificate: Certificate) -> None:
    """The same answers, and the connection goes on."""
    with (
        LiveServer(
            newest,
            *("--http-protocols", "h2,h1"),
            application=APPLICATION,
            certificate=certificate,
            environment=SIZES,
        ) as server,
        counted(server, too_large=2, complete=1),
        server.connect(protocols=("h2",)) as connection,
    ):
        http2 = Http2Connection(connection)
        announced = http2.begin("POST", "/data", {"Content-Length": str(MOST + 1)})
        assert http2.response(announced).status == 413
        counted_bytes = http2.begin("POST", "/data")
        http2.send(counted_bytes, content(MOST + 1), end=True)
        response = http2.response(counted_bytes)
        assert response.status == 413
        assert f"more than {MOST:,} bytes" in response.body.decode()
        assert http2.post("/data", content(MOST)).json() == data_description(content(MOST))
