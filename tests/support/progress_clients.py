"""Clients that upload when they are told to, and clients that ask how far an upload is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from http_client import Connection, Response, chunk, content, head
from live_server import LiveServer, wait_until

APPLICATION = "progress_application:application"
WRAPPED = "progress_application:wrapped()"
TWO_WORKERS = ("--workers", "2")
LARGEST = 5_000_000  # bytes of the largest body that the server takes
PIECE = content(300_000)
EVENTS = {"Accept": "text/event-stream"}
FRAMINGS = ["Content-Length", "chunked"]
LOG_WITHOUT_QUERIES = "%(m)s %({script_name}e)s%(U)s %(H)s"


class SlowUpload:
    """An upload that sends when it is told to; a context manager.

    announced: bytes of a body with Content-Length; None for one in chunks.
    sent: bytes of the body that were sent so far.
    """

    def __init__(
        self,
        server: LiveServer,
        chosen: str,
        announced: int | None,
        *,
        path: str = "/swallow",
        in_query: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.connection = server.connect()
        self.sent = 0
        self._announced = announced
        self.connection.send_request("GET", "/pid")
        self.worker = int(self.connection.response().body)
        fields = {} if in_query else {"X-Progress-ID": chosen}
        if announced is None:
            fields["Transfer-Encoding"] = "chunked"
        else:
            fields["Content-Length"] = str(announced)
        if in_query:
            path += f"{'&' if '?' in path else '?'}X-Progress-ID={chosen}"
        self.connection.send(head("POST", path, {**fields, **(headers or {})}))

    def __enter__(self) -> SlowUpload:
        return self

    def __exit__(self, *exc: object) -> None:
        self.connection.sock.close()

    def send(self, data: bytes = PIECE) -> None:
        self.sent += len(data)  # before, so that nobody can have received more
        self.connection.send(data if self._announced is not None else chunk(data))

    def finish(self) -> Response:
        if self._announced is None:
            self.connection.send(b"0\r\n\r\n")
        return self.connection.response()


class Asking:
    """Asks for the progress of one upload on a connection of its own; a context manager.

    not_in: the worker that shall not answer, if there are several; 0 for any.
    """

    def __init__(self, server: LiveServer, chosen: str, *, not_in: int = 0) -> None:
        self._chosen = chosen
        self.connection = wait_until(
            lambda: self._connection(server, not_in), "a connection to another worker"
        )

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *exc: object) -> None:
        self.connection.sock.close()

    def __call__(self, path: str = "/progress") -> Any:
        self.connection.send_request("GET", path, headers={"X-Progress-ID": self._chosen})
        return self.connection.response().json()

    def wait_for(self, **expected: Any) -> Any:
        """The first answer with these values."""
        seen: Any = None

        def as_expected() -> Any:
            nonlocal seen
            seen = self()
            return seen if expected.items() <= seen.items() else None

        try:
            return wait_until(as_expected, f"{expected}")
        except AssertionError as error:
            error.args = (f"{error}; the last was {seen}",)
            raise

    @staticmethod
    def _connection(server: LiveServer, not_in: int) -> Connection | None:
        connection = server.connect()
        connection.send_request("GET", "/pid")
        if int(connection.response().body) != not_in:
            return connection
        connection.sock.close()
        return None


class Stream:
    """A stream of events that is read by hand; a context manager."""

    def __init__(
        self,
        server: LiveServer,
        chosen: str,
        *,
        path: str = "/progress",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.connection = server.connect()
        query = f"{path}?X-Progress-ID={chosen}"
        self.connection.send_request("GET", query, headers={**EVENTS, **(headers or {})})
        status, *lines = self.connection._until(b"\r\n\r\n").decode().split("\r\n")
        self.status = int(status.split()[1])
        self.headers = dict(line.split(": ", 1) for line in lines)
        self.blocks: list[dict[str, str]] = []

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.connection.sock.close()

    def next_block(self) -> dict[str, str] | None:
        """The fields of the next block, a comment as {"": ""}; None at the end."""
        size = int(self.connection._until(b"\r\n"), 16)
        text = self.connection._exactly(size).decode()
        self.connection._exactly(2)
        if not size:
            return None
        assert text.endswith("\n\n")
        assert text.count("\n\n") == 1
        lines = [line.partition(":") for line in text.removesuffix("\n\n").split("\n")]
        block = {name: value.strip() for name, _, value in lines}
        self.blocks.append(block)
        return block

    def next_event(self) -> Any:
        """What the next event tells; None at the end."""
        while (block := self.next_block()) is not None:
            if "data" in block:
                return json.loads(block["data"])
        return None

    def rest(self) -> list[Any]:
        """All events up to the end."""
        return list(iter(self.next_event, None))
