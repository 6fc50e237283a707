"""A TCP proxy in front of a server, for what happens to connections on their way."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType


class CuttingProxy:
    """Passes bytes on; a context manager.

    As soon as one connection has brought more bytes than the first of the breaks says, the
    connection is reset, and that break is over.

    breaks: bytes of a connection, and what to do beside cutting it.
    """

    def __init__(self, port: int, *breaks: tuple[int, Callable[[], object] | None]) -> None:
        self._target = ("127.0.0.1", port)
        self.breaks = deque(breaks)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> CuttingProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            _end(sock)
        if error is None:
            assert not self.breaks, "a connection was to break, and did not"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:  # nobody listens while it is started anew
                _end(client)
                continue
            self._sockets += [client, server]
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
            threading.Thread(target=_copy, args=(server, client), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        passed = 0
        while data := _received(client):
            passed += len(data)
            with self._lock:
                action = self._breaks_at(passed)
            if action is not None:
                action()
                linger = struct.pack("ii", 1, 0)  # what is on its way is lost, too
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                break
            with contextlib.suppress(OSError):  # it is noticed where the answer is read
                server.sendall(data)
        _end(client)
        _end(server)

    def _breaks_at(self, passed: int) -> Callable[[], object] | None:
        if not self.breaks or passed <= self.breaks[0][0]:
            return None
        return self.breaks.popleft()[1] or (lambda: None)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    _end(target)


def _received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except OSError:
        return b""


def _end(sock: socket.socket) -> None:
    """Wakes whoever receives from it, too."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
