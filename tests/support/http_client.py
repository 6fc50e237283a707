"""A client that says byte by byte what it sends and when, and checks what comes back.

Client libraries tidy up what the tests are about: they end bodies, close connections and split
requests as they see fit.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tls_socket import TlsSocket

# Seconds. Far above what anything here takes on a busy machine: only a failure waits so long.
DEADLINE = 20.0

BOUNDARY = "a-boundary-that-is-not-in-any-content"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def content(size: int, seed: int = 0) -> bytes:
    """`size` bytes of which no block is like another, with line ends and almost-boundaries."""
    if size == 0:
        return b""
    noise = random.Random(seed).randbytes(min(size, 256 * 1024))
    blocks = []
    made = 0
    while made < size:
        block = b"\r\n--%d\n" % made + noise
        blocks.append(block)
        made += len(block)
    return b"".join(blocks)[:size]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Part:
    """One part of a form: a field, or a file if it has a file name."""

    name: str
    content: bytes
    filename: str | None = None

    def encoded(self, boundary: str = BOUNDARY) -> bytes:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{self.name}"'
        if self.filename is not None:
            head += f'; filename="{self.filename}"\r\nContent-Type: application/octet-stream'
        return head.encode() + b"\r\n\r\n" + self.content + b"\r\n"


def form(*parts: Part) -> bytes:
    """The body of a multipart form."""
    return b"".join(part.encoded() for part in parts) + END_OF_FORM


END_OF_FORM = f"--{BOUNDARY}--\r\n".encode()


def form_description(*parts: Part) -> dict[str, Any]:
    """What the application under test answers to a form of these parts."""
    files = [part for part in parts if part.filename is not None]
    return {
        "fields": [[p.name, p.content.decode()] for p in parts if p.filename is None],
        "files": [[p.name, p.filename, len(p.content), sha256(p.content)] for p in files],
    }


def data_description(data: bytes) -> dict[str, Any]:
    """What the application under test answers to a raw body."""
    return {"size": len(data), "sha256": sha256(data)}


def chunked(pieces: Iterable[bytes], extension: bytes = b"", trailers: bytes = b"") -> bytes:
    """A whole body in chunked transfer coding, one chunk for each piece."""
    chunks = b"".join(chunk(piece, extension) for piece in pieces)
    return chunks + b"0" + extension + b"\r\n" + trailers + b"\r\n"


def chunk(piece: bytes, extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(piece), extension, piece)


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def head(method: str, path: str, headers: Mapping[str, str], version: str = "1.1") -> bytes:
    """The request line and the headers."""
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def request(
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    version: str = "1.1",
) -> bytes:
    """A whole request; with Content-Length unless body is None or the headers frame it."""
    fields = dict(headers or {})
    if body is not None and "Transfer-Encoding" not in fields:
        fields.setdefault("Content-Length", str(len(body)))
    return head(method, path, fields, version) + (body or b"")


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        assert self.status == 200, (self.status, self.body[:500])
        return json.loads(self.body)


class Connection:
    """One connection to a server. Closed by the end of its with block, or before."""

    def __init__(self, sock: socket.socket | TlsSocket) -> None:
        self.sock = sock
        self._received = bytearray()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_in_pieces(self, pieces: Iterable[bytes]) -> None:
        """Send each piece as a segment of its own, most often read as such by the server."""
        for piece in pieces:
            self.send(piece)
            time.sleep(0.001)

    def send_request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        version: str = "1.1",
    ) -> None:
        self.send(request(method, path, body, headers, version))

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
        self.send_request("POST", path, body, headers)
        return self.response()

    def post_form(self, path: str, *parts: Part) -> Response:
        return self.post(path, form(*parts), {"Content-Type": FORM_TYPE})

    def ping(self) -> None:
        self.send_request("GET", "/ping")
        response = self.response()
        assert (response.status, response.body) == (200, b"pong"), response

    def end_sending(self) -> None:
        """Half-close: no byte will follow, and the response can still be read."""
        if isinstance(self.sock, TlsSocket):
            self.sock.end_tls()
        else:
            self.sock.shutdown(socket.SHUT_WR)

    def die(self) -> None:
        """FIN, over TLS without TLS's own end: what a killed client sends."""
        self._below_tls.shutdown(socket.SHUT_WR)

    def vanish(self) -> None:
        """End the connection in both directions."""
        self._below_tls.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Close at once, so that the server gets an RST."""
        linger = struct.pack("ii", 1, 0)
        self._below_tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.sock.close()

    @property
    def _below_tls(self) -> socket.socket:
        return self.sock.raw if isinstance(self.sock, TlsSocket) else self.sock

    def response(self, *, bodiless: bool = False) -> Response:
        """The next response, whole; interim ones (1xx) are responses too."""
        status_line, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in fields.items()}
        status = int(status_line.split(" ")[1])
        body = b""
        if status >= 200 and status != 204 and not bodiless:
            body = self._body(headers)
        return Response(status, headers, body)

    def response_or_none(self) -> Response | None:
        """The next response; None if the server closes or resets the connection instead."""
        try:
            return self.response()
        except (EOFError, ConnectionError, ssl.SSLError):
            return None

    def has_answer(self) -> bool:
        """Whether the server has sent anything by now."""
        readable, _, _ = select.select([self._below_tls], [], [], 0)
        return bool(readable)

    def is_closed(self) -> bool:
        """Whether the server closes the connection, or has, without sending another byte."""
        if self._received:
            return False
        try:
            return self.sock.recv(1) == b""
        except (ConnectionError, ssl.SSLError):
            return True

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self._until(b"\r\n"), 16):
                body += self._exactly(size)
                self._exactly(2)
            self._exactly(2)
            return body
        return self._exactly(int(headers["content-length"]))

    def _until(self, end: bytes) -> bytes:
        while (position := self._received.find(end)) < 0:
            self._receive()
        taken = self._exactly(position + len(end))
        return taken[:position]

    def _exactly(self, size: int) -> bytes:
        while len(self._received) < size:
            self._receive()
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def _receive(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError(f"the server closed the connection after {bytes(self._received)!r}")
        self._received += data


def split_at(data: bytes, offsets: Sequence[int]) -> list[bytes]:
    """The pieces between the offsets, which are in order."""
    bounds = [0, *offsets, len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds)]
