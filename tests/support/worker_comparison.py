"""The same bytes for the stock worker and for ours, and what each of the two answers.

Nobody waits for a silence. The stock worker is done with a connection when it answers another one
that was opened later. Ours is then waited for until it has come as far. In the end both get the
end of the connection, so that whatever is still to come comes, and it is all compared.
"""

from __future__ import annotations

import contextlib
import enum
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import NamedTuple

from http_client import DEADLINE
from live_server import STOCK, Gunicorn, LiveServer

Address = tuple[str, int]

# Says whether the connection can still be used, and whether it is where it should be.
NEXT_REQUEST = b"GET /next HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

_START = re.compile(rb"(?=HTTP/1\.[01] \d{3} )")
_STATUS = re.compile(rb" (\d{3}) ")
_CONNECTION = re.compile(rb"\r\nConnection: ([\w-]+)\r\n")
_DATE = re.compile(rb"\r\nDate: [^\r]*")


class Ending(enum.Enum):
    """What follows the bytes; behind it, the client ends its side of the connection."""

    NOTHING = "nothing"
    REQUEST = "request"  # when the server has done what it can
    PIPELINED = "pipelined"  # a request in the same segment

    def sendings(self, data: bytes) -> list[bytes]:
        """What is sent, in pieces between which the server is waited for."""
        if self is Ending.NOTHING:
            return [data]
        if self is Ending.REQUEST:
            return [data, NEXT_REQUEST]
        return [data + NEXT_REQUEST]


class Progress(NamedTuple):
    """How far a server has come on a connection."""

    responses: int
    closed: bool


class Answers(NamedTuple):
    """All that came back until the server closed the connection, without the date."""

    stock: bytes
    ours: bytes


def outline(answer: bytes) -> tuple[str, ...]:
    """The status and the Connection header of each response, as in "200 keep-alive"."""
    _, *responses = _START.split(answer)
    return tuple(_outline_of_one(response) for response in responses)


def _outline_of_one(response: bytes) -> str:
    status, connection = _STATUS.search(response), _CONNECTION.search(response)
    assert status
    return f"{status.group(1).decode()} {connection.group(1).decode() if connection else '-'}"


class Conversation:
    """One connection; a context manager. A reset ends it like a close."""

    def __init__(self, address: Address) -> None:
        self._sock = socket.create_connection(address, DEADLINE)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()
        self._closed = False

    def __enter__(self) -> Conversation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._sock.close()

    @property
    def progress(self) -> Progress:
        return Progress(len(_START.findall(self._received)), self._closed)

    def send(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._sock.sendall(data)

    def take_what_is_there(self) -> None:
        self._sock.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            self._receive_until(lambda: self._closed)
        self._sock.settimeout(DEADLINE)

    def wait_for(self, goal: Progress) -> None:
        """Return when the server has come as far, or has closed the connection."""
        self._receive_until(
            lambda: self._closed or (not goal.closed and self.progress.responses >= goal.responses)
        )

    def end(self) -> bytes:
        """End this side of the connection, and return all that came, up to the server's end."""
        with contextlib.suppress(OSError):  # it has ended already
            self._sock.shutdown(socket.SHUT_WR)
        self._receive_until(lambda: self._closed)
        return _DATE.sub(b"", self._received)

    def _receive_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            try:
                data = self._sock.recv(65536)
            except ConnectionResetError:
                data = b""
            self._received += data
            self._closed = not data


def knock(address: Address) -> None:
    """Return when a request has been answered that takes no longer than any other."""
    with Conversation(address) as conversation:
        conversation.send(b"GET / HTTP/1.0\r\n\r\n")
        conversation.end()


def compare(stock: Address, ours: Address, sendings: Sequence[bytes]) -> Answers:
    """What both servers answer to the same bytes."""
    goals = []
    with Conversation(stock) as conversation:
        for data in sendings:
            conversation.send(data)
            knock(stock)
            conversation.take_what_is_there()
            goals.append(conversation.progress)
        from_stock = conversation.end()
    with Conversation(ours) as conversation:
        for data, goal in zip(sendings, goals, strict=True):
            conversation.send(data)
            conversation.wait_for(goal)
        return Answers(from_stock, conversation.end())


@contextlib.contextmanager
def both_workers(
    gunicorn: Gunicorn, application: str, hosts: Sequence[str], options: Sequence[str]
) -> Iterator[tuple[LiveServer, LiveServer]]:
    """The stock worker and ours with the same options, at all of the hosts.

    hosts: addresses of the loopback interface; the first is 127.0.0.1.
    """
    binds = [word for host in hosts[1:] for word in ("--bind", f"{host}:0")]

    def ready(server: LiveServer) -> None:
        knock((hosts[0], server.port))

    with (
        LiveServer(
            gunicorn, *binds, *options, application=application, worker=STOCK, ready=ready
        ) as stock,
        LiveServer(gunicorn, *binds, *options, application=application, ready=ready) as ours,
    ):
        yield stock, ours


def addresses_of(server: LiveServer) -> dict[str, Address]:
    """The address of a server at each of its hosts."""
    found = re.findall(r"http://([\d.]+):(\d+)", server.log())
    return {host: (host, int(port)) for host, port in found}
