"""Clients that others wrote, uploading: what a person who uses them sees in the end.

Each has its own idea of when to look for an answer: curl while it sends, http.client and requests
when they have sent everything.
"""

from __future__ import annotations

import http.client
import shutil
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import requests
from http_client import DEADLINE, pieces_of
from live_server import Certificate, LiveServer

_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Answer:
    """What the client has to show.

    sent: bytes of the body; None if the client does not tell.
    version: of HTTP, likewise.
    """

    status: int
    text: str
    sent: int | None = None
    version: str | None = None


@dataclass(frozen=True)
class Upload:
    """What a client is to send, and where to."""

    server: LiveServer
    certificate: Certificate
    path: str
    body: bytes
    content_type: str = "application/octet-stream"


def curl(upload: Upload, *options: str) -> Answer:
    """Raises CalledProcessError if curl reports anything but an answer."""
    program = shutil.which("curl")
    assert program is not None, "curl is needed"
    done = subprocess.run(
        [
            *(program, "--silent", "--show-error", "--max-time", str(DEADLINE), "--ipv4"),
            *("--cacert", str(upload.certificate.authority), "--request", "POST"),
            *("--write-out", r"\n%{http_code} %{size_upload} %{http_version}"),
            *(
                "--header",
                f"Content-Type: {upload.content_type}",
                *options,
                upload.server.url + upload.path,
            ),
        ],
        input=upload.body,
        capture_output=True,
        check=True,
    )
    text, _, numbers = done.stdout.decode().rpartition("\n")
    status, sent, version = numbers.split()
    return Answer(int(status), text, int(sent), version)


_LENGTH = ("--http1.1", "--data-binary", "@-")
_CHUNKS = ("--http1.1", "--upload-file", "-")
_ASK, _DO_NOT_ASK = ("--header", "Expect: 100-continue"), ("--header", "Expect:")


def curl_that_asks(upload: Upload) -> Answer:
    """Waits a second for "100 Continue"."""
    return curl(upload, *_LENGTH, *_ASK)


def curl_that_does_not_ask(upload: Upload) -> Answer:
    return curl(upload, *_LENGTH, *_DO_NOT_ASK)


def curl_in_chunks_that_asks(upload: Upload) -> Answer:
    return curl(upload, *_CHUNKS, *_ASK)


def curl_in_chunks(upload: Upload) -> Answer:
    return curl(upload, *_CHUNKS, *_DO_NOT_ASK)


def standard_library(upload: Upload) -> Answer:
    """http.client, with Content-Length."""
    return _standard_library(upload, upload.body)


def standard_library_in_chunks(upload: Upload) -> Answer:
    return _standard_library(upload, pieces_of(upload.body, _PIECE_BYTES))


def _standard_library(upload: Upload, body: bytes | list[bytes]) -> Answer:
    scheme, _, address = upload.server.url.partition("://")
    if scheme == "https":
        context = ssl.create_default_context(cafile=str(upload.certificate.authority))
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            address, timeout=DEADLINE, context=context
        )
    else:
        connection = http.client.HTTPConnection(address, timeout=DEADLINE)
    try:
        connection.request("POST", upload.path, body, {"Content-Type": upload.content_type})
        response = connection.getresponse()
        return Answer(response.status, response.read().decode())
    finally:
        connection.close()


def requests_library(upload: Upload) -> Answer:
    """requests, with Content-Length."""
    return _requests_library(upload, upload.body)


def requests_library_in_chunks(upload: Upload) -> Answer:
    return _requests_library(upload, iter(pieces_of(upload.body, _PIECE_BYTES)))


def _requests_library(upload: Upload, body: object) -> Answer:
    with requests.Session() as session:
        session.trust_env = False  # no proxy for the loopback
        response = session.post(
            upload.server.url + upload.path,
            data=body,  # type: ignore[arg-type]
            headers={"Content-Type": upload.content_type},
            timeout=DEADLINE,
            verify=str(upload.certificate.authority),
        )
        return Answer(response.status_code, response.text)


ALL: tuple[Callable[[Upload], Answer], ...] = (
    curl_that_asks,
    curl_that_does_not_ask,
    curl_in_chunks_that_asks,
    curl_in_chunks,
    standard_library,
    standard_library_in_chunks,
    requests_library,
    requests_library_in_chunks,
)
