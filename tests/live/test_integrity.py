"""What arrives is what was sent, at the sizes around every threshold."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

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
)
from live_server import LiveServer

KIB = 1024
BLOCK = 64 * KIB
SPOOL_MEMORY = 500 * KIB
BATCH = 512 * KIB

SIZES = [
    *(0, 1, 2, 999, 1000, 1001, 4095, 4096, 4097),
    *(BLOCK - 1, BLOCK, BLOCK + 1),
    *(SPOOL_MEMORY - 1, SPOOL_MEMORY, SPOOL_MEMORY + 1),
    *(BATCH - 1, BATCH, BATCH + 1, 2 * BATCH, 3 * BATCH + 1),
    4 << 20,
]


@pytest.mark.parametrize("size", SIZES)
def test_file_of_a_form_arrives_whole(any_server: LiveServer, size: int) -> None:
    """A file part has the size and the digest of what was sent."""
    part = Part("file", content(size), "upload.bin")
    with any_server.connect() as connection:
        assert connection.post_form("/form", part).json() == form_description(part)


@pytest.mark.parametrize("size", SIZES)
def test_raw_body_arrives_whole(any_server: LiveServer, size: int) -> None:
    """Read in blocks, at once and in odd pieces, one after another on one connection."""
    data = content(size)
    with any_server.connect() as connection:
        for path in ("/stream", "/data", "/stream?read=1000003", "/stream?read=4097", "/plain"):
            assert connection.post(path, data).json() == data_description(data), path


@pytest.mark.parametrize("method", ["read", "read-all", "readline", "readlines", "iterate"])
@pytest.mark.parametrize("size", [1, BLOCK + 1, 1_000_000])
def test_every_method_of_wsgi_input_gives_all(
    any_server: LiveServer, method: str, size: int
) -> None:
    """The methods of PEP 3333 give every byte, in order, with either framing."""
    data = content(size)
    path = f"/plain?method={method}"
    with any_server.connect() as connection:
        assert connection.post(path, data).json() == data_description(data)
        body = chunked(pieces_of(data, 10_000))
        response = connection.post(path, body, {"Transfer-Encoding": "chunked"})
        assert response.json() == data_description(data)


def test_upload_of_50_megabytes(server: LiveServer) -> None:
    """As a form and as a raw body."""
    part = Part("file", content(50_000_000), "large.bin")
    with server.connect() as connection:
        assert connection.post_form("/form", part).json() == form_description(part)
        response = connection.post("/stream", part.content)
        assert response.json() == data_description(part.content)


def test_fields_and_files_mixed(any_server: LiveServer) -> None:
    """The order and the content of each of many parts, in memory and on disk, are kept."""
    parts = [
        Part("first", b"a field"),
        Part("small", content(10, seed=1), "small.bin"),
        Part("empty", b"", "empty.bin"),
        Part("long", content(100_000, seed=2).hex().encode()),
        Part("large", content(SPOOL_MEMORY + 1, seed=3), "large.bin"),
        Part("same", b"1"),
        Part("same", b"2"),
        Part("same", content(2 * BATCH + 7, seed=4), "one.bin"),
        Part("same", content(1000, seed=5), "two.bin"),
        Part("last", b""),
    ]
    with any_server.connect() as connection:
        assert connection.post_form("/form", *parts).json() == form_description(*parts)


def test_many_small_files_in_one_form(any_server: LiveServer) -> None:
    """No part is mistaken for another."""
    parts = [Part(f"file{i}", content(i * 37, seed=i), f"{i}.bin") for i in range(200)]
    with any_server.connect() as connection:
        assert connection.post_form("/form", *parts).json() == form_description(*parts)


def test_http_client_of_the_standard_library(server: LiveServer) -> None:
    """Sends headers and body separately, and chunks that it makes from an iterator."""
    part = Part("file", content(3_000_000), "upload.bin")
    body = form(part)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request("POST", "/form", body, {"Content-Type": FORM_TYPE})
        assert json.load(connection.getresponse()) == form_description(part)
        connection.request(
            "POST", "/form", iter(pieces_of(body, 33_333)), {"Content-Type": FORM_TYPE}
        )
        assert json.load(connection.getresponse()) == form_description(part)
    finally:
        connection.close()


@pytest.fixture
def upload_file(tmp_path: Path) -> Path:
    path = tmp_path / "upload.bin"
    path.write_bytes(content(3_000_000))
    return path


def curl(server: LiveServer, *arguments: str) -> Any:
    program = shutil.which("curl")
    assert program is not None, "curl is needed"
    *options, path = arguments
    command = [program, "--silent", "--show-error", "--max-time", "20", *options]
    url = f"http://127.0.0.1:{server.port}{path}"
    done = subprocess.run([*command, url], capture_output=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("expect", ["Expect: 100-continue", "Expect:"])
def test_curl_with_a_form(server: LiveServer, upload_file: Path, expect: str) -> None:
    """curl -F, with and without waiting for 100 Continue."""
    found = curl(
        server, "-H", expect, "-F", "note=hello", "-F", f"file=@{upload_file};filename=f", "/form"
    )
    parts = [Part("note", b"hello"), Part("file", upload_file.read_bytes(), "f")]
    assert found == form_description(*parts)


@pytest.mark.parametrize("framing", ["Content-Length", "chunked"])
@pytest.mark.parametrize("expect", ["Expect: 100-continue", "Expect:"])
def test_curl_with_a_raw_body(
    server: LiveServer, upload_file: Path, framing: str, expect: str
) -> None:
    """curl -T, with a length and chunked."""
    chunks = ["-H", "Transfer-Encoding: chunked"] if framing == "chunked" else []
    found = curl(server, "-H", expect, *chunks, "-T", str(upload_file), "/data")
    assert found == data_description(upload_file.read_bytes())
