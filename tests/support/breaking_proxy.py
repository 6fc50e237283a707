"""A proxy between a storage and its store that breaks what goes through it, as told.

It speaks HTTP/1.1 as far as it has to: it reads the head of each request, asks the fault what to
do with it, and goes on from there byte by byte. One connection of the client is one connection of
the store.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


@dataclass(frozen=True)
class Fault:
    """What happens to a request.

    latency: seconds before it is passed on.
    answer: (status, body, headers) instead of the store's, which is not asked.
    reset_after: bytes of the request's body after which the client's connection is reset.
    swallow: the store does the work, and the client gets no answer but a reset.
    half_answer: bytes of the store's answer after which the connection is closed.
    damage: one bit of the request's body is another.
    hangs: nothing is passed on and nothing answered, as long as the proxy runs.
    """

    latency: float = 0.0
    answer: tuple[int, bytes, dict[str, str]] | None = None
    reset_after: int | None = None
    swallow: bool = False
    half_answer: int | None = None
    damage: bool = False
    hangs: bool = False


Choose = Callable[[str, str], "Fault | None"]
"""The fault for a request by its method and target; None for none."""


@dataclass
class BreakingProxy:
    """Runs while its block does.

    target: the store's URL.
    seen: (method, target) of all requests.
    """

    target: str
    choose: Choose = lambda method, path: None
    seen: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ending = threading.Event()
        self._open: set[socket.socket] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> BreakingProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._ending.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def breaking(self, choose: Choose) -> Iterator[None]:
        """These faults while the block runs."""
        before, self.choose = self.choose, choose
        try:
            yield
        finally:
            self.choose = before

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        address = urlsplit(self.target)
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            store = socket.create_connection((address.hostname, address.port or 80))
            for sock in (client, store):
                self._open.add(sock)
                stack.callback(self._open.discard, sock)
                stack.callback(sock.close)
            buffered = b""
            while (passed := self._pass_one(client, store, buffered)) is not None:
                buffered = passed

    def _pass_one(self, client: socket.socket, store: socket.socket, data: bytes) -> bytes | None:
        """One request and its answer; what came behind it, or None where all ends."""
        head, body = _head_of(client, data)
        if head is None:
            return None
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        self.seen.append((method, path))
        fault = self.choose(method, path) or Fault()
        if fault.hangs:
            self._ending.wait()
            return None
        if fault.latency:
            time.sleep(fault.latency)
        if fault.answer is not None:
            return self._answer_alone(client, head, body, fault.answer)
        store.sendall(head)
        if b"100-continue" in head.lower():
            interim = self._continued(client, store)
            if interim is not None:  # the final answer, without the body
                client.sendall(interim)
                return None
        rest = _pass_body(head, body, client, store, fault)
        if rest is None:
            _reset(client)
            return None
        return rest if self._pass_answer(method, client, store, fault) else None

    def _continued(self, client: socket.socket, store: socket.socket) -> bytes | None:
        head, rest = _head_of(store, b"")
        if head is not None and head.startswith(b"HTTP/1.1 100"):
            client.sendall(head)
            return None
        return (head or b"") + rest

    def _answer_alone(
        self,
        client: socket.socket,
        head: bytes,
        body: bytes,
        answer: tuple[int, bytes, dict[str, str]],
    ) -> bytes | None:
        """An answer of the proxy's own, behind the whole request."""
        if b"100-continue" in head.lower():
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        rest = _pass_body(head, body, client, None, Fault())
        status, content, headers = answer
        lines = [f"HTTP/1.1 {status} Broken", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        client.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        return rest

    def _pass_answer(
        self, method: str, client: socket.socket, store: socket.socket, fault: Fault
    ) -> bool:
        """Whether the connection goes on."""
        head, body = _head_of(store, b"")
        if head is None:
            return False
        if fault.swallow:
            _pass_answer_body(method, head, body, store, None, None)
            _reset(client)
            return False
        if fault.half_answer is not None:
            client.sendall(head)
            _pass_answer_body(method, head, body, store, client, fault.half_answer)
            return False
        client.sendall(head)
        return _pass_answer_body(method, head, body, store, client, None)


def _head_of(sock: socket.socket, data: bytes) -> tuple[bytes | None, bytes]:
    """(head with its empty line, what came behind); no head where the connection ended."""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            return None, data
        data += piece
    head, rest = data.split(b"\r\n\r\n", 1)
    return head + b"\r\n\r\n", rest


def _pass_body(
    head: bytes,
    data: bytes,
    client: socket.socket,
    store: socket.socket | None,
    fault: Fault,
) -> bytes | None:
    """The body of a request to the store, if one is given; what came behind it.

    None where the client's connection is to be reset, or has ended.
    """
    found = _LENGTH.search(head)
    missing = int(found[1]) if found else 0
    passed = 0
    while missing:
        piece = (data or client.recv(65536))[:missing]
        data = data[len(piece) :]
        if not piece:
            return None
        if fault.reset_after is not None and passed + len(piece) > fault.reset_after:
            return None
        if fault.damage and not passed:
            piece = bytes([piece[0] ^ 1]) + piece[1:]
        if store is not None:
            store.sendall(piece)
        missing -= len(piece)
        passed += len(piece)
    return data


def _pass_answer_body(
    method: str,
    head: bytes,
    data: bytes,
    store: socket.socket,
    client: socket.socket | None,
    most: int | None,
) -> bool:
    """Whether the connection goes on behind it."""
    status = int(head.split(b" ", 2)[1])
    found = _LENGTH.search(head)
    if method == "HEAD" or status in (204, 304):
        return True
    chunked = found is None and _CHUNKED.search(head) is not None
    left = int(found[1]) if found else 1 << 60
    passed = 0
    seen = b""
    while left:
        piece = data or store.recv(65536)
        data = b""
        if not piece:
            return False
        if most is not None and passed + len(piece) > most:
            if client is not None:
                client.sendall(piece[: most - passed])
            return False
        if client is not None:
            client.sendall(piece)
        passed += len(piece)
        left -= len(piece)
        seen = (seen + piece)[-7:]
        if chunked and seen.endswith(b"\r\n0\r\n\r\n"[-len(seen) :]) and b"0\r\n\r\n" in seen:
            return True
    return True


def _reset(sock: socket.socket) -> None:
    """Close with a reset (RST) instead of a polite end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
