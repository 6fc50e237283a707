"""Uploads that go on in a thread while the test looks at something else, and who gets answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from http_client import (
    BOUNDARY,
    DEADLINE,
    END_OF_FORM,
    FORM_TYPE,
    Connection,
    Part,
    Response,
    chunk,
    content,
    head,
)
from live_server import LiveServer, wait_until

ANNOUNCED = 1 << 40  # bytes of a body that is ended before

_BLOCK = content(256 * 1024)
_HEAD_OF_FILE = Part("file", b"", "endless.bin").encoded().removesuffix(b"\r\n")


class EndlessUpload:
    """Sends, as fast as the server takes it, until finish(); a context manager.

    A form arrives whole, in chunked coding. A raw body is announced as larger than it will ever
    be and breaks off, so that the server's answer tells how much of it arrived.
    """

    def __init__(self, server: LiveServer, path: str, *, as_form: bool = False) -> None:
        self.connection: Connection = server.connect()
        self.sent = 0  # bytes of the file, or of the raw body
        self._as_form = as_form
        self._path = path
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> EndlessUpload:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._thread.join(2 * DEADLINE)
        self.connection.sock.close()

    def wait_for(self, more: int) -> None:
        """Return when `more` bytes have been sent from now on."""
        target = self.sent + more
        wait_until(lambda: self.sent >= target, f"{more:,} more bytes are sent")

    def finish(self) -> Response:
        """End the body and return the server's answer."""
        self._ending.set()
        self._thread.join(DEADLINE)
        return self.connection.response()

    def _run(self) -> None:
        try:
            if self._as_form:
                self._send_form()
            else:
                self._send_raw()
        except OSError:
            return  # the test sees that no more is sent, or reads the answer

    def _send_form(self) -> None:
        headers = {"Transfer-Encoding": "chunked", "Content-Type": FORM_TYPE}
        self.connection.send(head("POST", self._path, headers) + chunk(_HEAD_OF_FILE))
        encoded = chunk(_BLOCK)
        while not self._ending.is_set():
            self.connection.send(encoded)
            self.sent += len(_BLOCK)
        self.connection.send(chunk(b"\r\n" + END_OF_FORM) + b"0\r\n\r\n")

    def _send_raw(self) -> None:
        self.connection.send(head("POST", self._path, {"Content-Length": str(ANNOUNCED)}))
        while not self._ending.is_set():
            self.connection.send(_BLOCK)
            self.sent += len(_BLOCK)
        self.connection.end_sending()


class HalfUpload:
    """A form of one file of which the first half has been sent; a context manager."""

    def __init__(self, server: LiveServer, path: str = "/form", size: int = 3_000_000) -> None:
        self.part = Part("file", content(size), "half.bin")
        self.connection: Connection = server.connect()
        body = self.part.encoded(BOUNDARY) + END_OF_FORM
        headers = {"Content-Length": str(len(body)), "Content-Type": FORM_TYPE}
        self.connection.send(head("POST", path, headers) + body[: len(body) // 2])
        self._rest = body[len(body) // 2 :]

    def __enter__(self) -> HalfUpload:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.connection.sock.close()

    def finish(self) -> Response:
        self.connection.send(self._rest)
        return self.connection.response()


@contextmanager
def pings_counted(server: LiveServer) -> Iterator[list[int]]:
    """A list of one number: how many small requests were answered within the block so far.

    Each has a connection of its own: on one that is kept, pywsgi's answers wait for the
    acknowledgement of their headers (it leaves TCP_NODELAY off), which takes 40 ms.
    """
    count = [0]
    ending = threading.Event()

    def ping() -> None:
        while not ending.is_set():
            with server.connect() as connection:
                connection.ping()
            count[0] += 1

    thread = threading.Thread(target=ping)
    thread.start()
    try:
        yield count
    finally:
        ending.set()
        thread.join()
