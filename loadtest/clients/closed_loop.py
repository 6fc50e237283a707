"""The process that asks as fast as it can: requests per second of a small request without a body.

A few keep-alive connections, each of which asks again as soon as it is answered. The first answer
on each connection is parsed; those after it must have its length and its status line, which costs
the client a tenth of what the server does for it.
"""

from __future__ import annotations

import selectors
import socket
import time
from dataclasses import dataclass

from loadtest.clients.connection import Address
from loadtest.clients.crew import Station
from loadtest.clients.http1 import Exchange, Request

CONNECTIONS = 8
ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class LoopJob:
    """Ask `target` of `address` for `seconds`."""

    address: Address
    target: str
    headers: tuple[tuple[str, str], ...]
    seconds: float


@dataclass(frozen=True)
class LoopResult:
    """How many answers in how many seconds, and what they cost the client."""

    answers: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds


def run(job: LoopJob, station: Station) -> LoopResult:
    """The process's task."""
    address = job.address
    request = Request("GET", job.target, address.authority, job.headers)
    asked = bytes(Exchange(request).outgoing())
    selector = selectors.DefaultSelector()
    expected: dict[int, bytes] = {}
    for _ in range(CONNECTIONS):
        sock = socket.create_connection((address.ip, address.port), timeout=ANSWER_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        expected[sock.fileno()] = _first_answer(sock, request)
        selector.register(sock, selectors.EVENT_READ, sock)
    station.wait_for_go()
    cpu_before, begin = time.process_time(), time.perf_counter()
    missing = dict.fromkeys(expected, 0)
    for key in selector.get_map().values():
        key.data.sendall(asked)
        missing[key.fd] = len(expected[key.fd])
    answers, end = 0, begin + job.seconds
    while (now := time.perf_counter()) < end:
        ready = selector.select(ANSWER_SECONDS)
        if not ready:
            raise OSError(f"no answer within {ANSWER_SECONDS:.0f} s")
        for key, _ in ready:
            whole = expected[key.fd]
            missing[key.fd] = _take(key.data.recv(65536), whole, missing[key.fd])
            if not missing[key.fd]:
                answers += 1
                key.data.sendall(asked)
                missing[key.fd] = len(whole)
    return LoopResult(answers, now - begin, time.process_time() - cpu_before)


def _take(data: bytes, whole: bytes, missing: int) -> int:
    """How much of an answer is missing still, once `data` is there. OSError if it is another."""
    begun = missing < len(whole)
    if not data or len(data) > missing or not (begun or data[:12] == whole[:12]):
        raise OSError(f"expected an answer like {whole[:60]!r}, got {data[:60]!r}")
    return missing - len(data)


def _first_answer(sock: socket.socket, request: Request) -> bytes:
    exchange = Exchange(request)
    asked = exchange.outgoing()
    sock.sendall(asked)
    exchange.sent(len(asked))
    received = b""
    while exchange.answer is None:
        data = sock.recv(65536)
        received += data
        exchange.receive(data)
    if exchange.answer.status != 200 or not exchange.reusable:
        raise OSError(
            f"GET {request.target} is answered with status {exchange.answer.status}"
            + ("" if exchange.reusable else " and the connection does not stay open")
        )
    return received
