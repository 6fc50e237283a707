"""A statsd server for the tests, which keeps all that gunicorn sends it."""

from __future__ import annotations

import re
import select
import socket
import threading
from collections import Counter
from pathlib import Path
from types import TracebackType

# name:value|type, and what dogstatsd appends.
_LINE = re.compile(r"(?P<name>[^:]+):(?P<value>[0-9.]+)\|(?P<type>c|g|ms)(\|@1\.0)?(\|#.*)?")

UPLOADS = "gunicorn.upload."


class StatsdServer:
    """On a free loopback port, or on a Unix socket in a directory; a context manager.

    prefix: what the names begin with; others are not of uploads.
    port: the one to take; 0 for any.
    reading: False for a server that hangs until read().
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        prefix: str = "",
        port: int = 0,
        reading: bool = True,
    ) -> None:
        self._prefix = prefix + UPLOADS
        self._lines: list[str] = []
        if directory is None:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            self._socket.bind(("127.0.0.1", port))
            self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        else:
            path = directory / "statsd"
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.bind(str(path))
            self.address = f"unix://{path}"
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        if reading:
            self.read()

    def __enter__(self) -> StatsdServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def read(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """When all that was sent is read."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def option(self) -> tuple[str, str]:
        """For gunicorn's command line."""
        return ("--statsd-host", self.address)

    def lines(self) -> list[str]:
        """What came of uploads, as it came."""
        return [line for line in list(self._lines) if line.startswith(self._prefix)]

    def counters(self) -> dict[str, float]:
        """The sums of what was sent, without the common beginning of the names."""
        sums: Counter[str] = Counter()
        for name, value in self._of_type("c"):
            sums[name] += int(value)
        return dict(sums)

    def gauges(self) -> dict[str, float]:
        """The last values."""
        return dict(self._of_type("g"))

    def timers(self, name: str) -> list[float]:
        """All values of one, in ms."""
        return [value for each, value in self._of_type("ms") if each == name]

    def _of_type(self, wanted: str) -> list[tuple[str, float]]:
        found = []
        for line in self.lines():
            match = _LINE.fullmatch(line)
            assert match, line
            if match["type"] == wanted:
                found.append((match["name"].removeprefix(self._prefix), float(match["value"])))
        return found

    def _read(self) -> None:
        while line := self._next():
            self._lines.append(line)

    def _next(self) -> str:
        """What comes next; empty once this was closed and nothing comes any more."""
        while True:
            readable, _, _ = select.select([self._socket], [], [], 0.05)
            if readable:
                return self._socket.recv(65536).decode()
            if self._ending.is_set():
                return ""
