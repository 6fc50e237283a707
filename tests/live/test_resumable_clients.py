"""Clients of resumable uploads as they come, on networks that break and with workers that die."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cutting_proxy import CuttingProxy
from http_client import content, sha256
from javascript import needs_javascript, tus_in_node
from live_server import Gunicorn, LiveServer, wait_until
from tusclient.client import TusClient
from uploads_in_process import id_in

MIB = 1 << 20
DATA = content(20 * MIB + 1)  # no multiple of any client's chunks
NAME = "Straße 文档.pdf"

# Milliseconds: a worker that is killed is replaced within a second or two.
RETRIES = [0, 100, 500, 1000, 1000, 1000, 1000, 1000, 1000]


@pytest.fixture(scope="module")
def server(newest: Gunicorn) -> Iterator[LiveServer]:
    with LiveServer(newest, application="uploads_application:application") as server:
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


def stored(server: LiveServer, address: str) -> dict[str, Any]:
    """What the application has of an upload."""
    with server.connect() as connection:
        connection.send_request("GET", f"/stored/{id_in(address)}")
        found: dict[str, Any] = connection.response().json()
    return found


def check_stored(server: LiveServer, address: str, name: str | None = NAME) -> None:
    found = stored(server, address)
    assert (found["size"], found["sha256"]) == (len(DATA), sha256(DATA))
    assert found["name"] == name


# Clients: each uploads the file and returns its address.


def tus_js_client(url: str, file: Path, **options: Any) -> str:
    told = tus_in_node(
        endpoint=f"{url}/files",
        path=str(file),
        retryDelays=RETRIES,
        metadata={"filename": NAME, "filetype": "application/pdf"},
        **options,
    )
    assert "url" in told, told
    address: str = told["url"]
    return address


def tuspy(url: str, file: Path, **options: Any) -> str:
    with file.open("rb") as stream:
        uploader = TusClient(f"{url}/files").uploader(
            file_stream=stream,
            metadata={"filename": NAME},
            retries=9,
            retry_delay=1,
            **options,
        )
        uploader.upload()
    return str(uploader.url)


def tus_js_client_in_chunks(url: str, file: Path) -> str:
    return tus_js_client(url, file, chunkSize=3 * MIB)


def tuspy_in_chunks(url: str, file: Path) -> str:
    return tuspy(url, file, chunk_size=3 * MIB)


CLIENTS = [
    pytest.param(tus_js_client, marks=needs_javascript),
    pytest.param(tus_js_client_in_chunks, marks=needs_javascript),
    tuspy_in_chunks,
]
each_client = pytest.mark.parametrize("client", CLIENTS)
Client = Callable[[str, Path], str]


@each_client
def test_nothing_happens(server: LiveServer, file: Path, client: Client) -> None:
    check_stored(server, client(server.url, file))


@each_client
def test_the_network_breaks(server: LiveServer, file: Path, client: Client) -> None:
    """Twice. What had come is not sent again."""
    with CuttingProxy(server.port, (2 * MIB, None), (2 * MIB, None)) as proxy:
        address = client(proxy.url, file)
    check_stored(server, address)


@each_client
def test_the_worker_is_killed(server: LiveServer, file: Path, client: Client) -> None:
    """kill -9, in the middle of a request."""
    (worker,) = server.workers()
    with CuttingProxy(server.port, (2 * MIB, lambda: os.kill(worker, signal.SIGKILL))) as proxy:
        address = client(proxy.url, file)
    check_stored(server, address)
    assert server.workers() != [worker]


@needs_javascript
@pytest.mark.parametrize(
    "options",
    [
        {"chunkSize": 3 * MIB, "pauseAt": 6 * MIB},
        {"parallelUploads": 3},
        {"uploadDataDuringCreation": True},
        {"uploadLengthDeferred": True, "chunkSize": 3 * MIB},
        {"overridePatchMethod": True},
        {"protocol": "ietf-draft-05"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_ways_of_tus_js_client(server: LiveServer, file: Path, options: dict[str, Any]) -> None:
    """Paused and resumed by another Upload; in parallel, of which nothing is copied; and so on."""
    name = None if "protocol" in options else NAME  # it sends no metadata by the IETF's protocol
    check_stored(server, tus_js_client(server.url, file, **options), name)


@needs_javascript
def test_a_refused_upload_is_no_success(server: LiveServer, file: Path) -> None:
    """The check comes before the last byte is acknowledged."""
    told = tus_in_node(
        endpoint=f"{server.url}/files",
        path=str(file),
        retryDelays=[],
        metadata={"filename": "virus"},
    )
    assert "It has a virus." in told["error"]


def curl(*arguments: str, data: bytes = b"") -> tuple[str, str]:
    """(headers, body) of all responses."""
    command = ["curl", "--silent", "--show-error", "--include", "--max-time", "30", *arguments]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    headers, _, body = done.stdout.decode().rpartition("\r\n\r\n")
    return headers, body


def test_curl_speaks_the_ietf_s_protocol(server: LiveServer, file: Path) -> None:
    """As documented: it is told where its upload is, breaks off, asks and sends the rest."""
    url = f"{server.url}/files/"
    version = ("--header", "Upload-Draft-Interop-Version: 10")
    with CuttingProxy(server.port, (8 * MIB, None)) as proxy:
        headers, _ = curl(
            *(*version, "--header", "Upload-Complete: ?1", "--header", "Expect:"),
            *("--header", "Content-Disposition: inline; filename*=UTF-8''Stra%C3%9Fe"),
            *("--data-binary", f"@{file}", f"{proxy.url}/files/"),
        )
    assert headers.startswith("HTTP/1.1 104 Upload Resumption Supported")
    location = re.search(r"^Location: (\S+)", headers, re.MULTILINE)
    assert location is not None

    def told() -> re.Match[str] | None:  # 423 until what the broken request brought is committed
        headers, _ = curl("--head", url + location[1])
        return re.search(r"^Upload-Offset: (\d+)", headers, re.MULTILINE)

    offset = int(wait_until(told, "an offset")[1])
    assert 6 * MIB < offset < len(DATA)
    headers, body = curl(
        *("--request", "PATCH", "--header", "Content-Type: application/partial-upload"),
        *("--header", f"Upload-Offset: {offset}", "--header", "Upload-Complete: ?1"),
        *("--header", "Expect:", "--data-binary", "@-", url + location[1]),
        data=DATA[offset:],
    )
    assert "Upload-Complete: ?1" in headers
    assert f'"size": {len(DATA)}' in body
    check_stored(server, location[1], "Straße")
