"""Hundreds of clients that behave in all the ways in which clients do, each time by chance.

A behaviour is one or two connections from an address of their own, with all that is checked about
what they get, and it knows how the server has to count the bodies that it sent. Where the server
could see the end of a connection before its request, the client waits for "100 Continue" first.

All that is left to chance comes from one seed. How much of it happens depends on the time.
"""

from __future__ import annotations

import itertools
import random
import socket
import ssl
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from http_client import (
    DEADLINE,
    FORM_TYPE,
    Connection,
    Part,
    Response,
    chunk,
    chunked,
    content,
    data_description,
    form,
    form_description,
    head,
    pieces_of,
)
from tls_socket import TlsSocket

# Of the servers. The times are far above what a client of good will needs on a busy machine.
MOST_BYTES = 3_000_000
SETTINGS = {
    "COOPERATIVE_UPLOAD_BODY_TIMEOUT_SECONDS": "3",
    "COOPERATIVE_UPLOAD_HEADER_TIMEOUT_SECONDS": "3",
    "COOPERATIVE_UPLOAD_MIN_RATE_BYTES": "1000",
    "COOPERATIVE_UPLOAD_MIN_RATE_WINDOW_SECONDS": "1",
    "COOPERATIVE_UPLOAD_MAX_BODY_BYTES": str(MOST_BYTES),
    "COOPERATIVE_UPLOAD_MAX_UPLOADS_PER_CLIENT": "1",
    "COOPERATIVE_UPLOAD_SPOOL_MEMORY_BYTES": "50000",
    "COOPERATIVE_UPLOAD_LINGERING_CONNECTIONS": "1000",
}

CHUNKED = {"Transfer-Encoding": "chunked"}

_DATA = [content(size, seed=size) for size in (70_000, 150_000, 400_000, 1_000_000)]
_FORMS = [(Part("note", b"text"), Part("file", data, "f.bin")) for data in _DATA]
_UPLOADS = [(form(*parts), form_description(*parts)) for parts in _FORMS]
_TOO_LARGE = content(MOST_BYTES + 1_000_000)


@dataclass
class Outcome:
    """What the clients of one server saw, and what it has to have counted."""

    expected: Counter[str] = field(default_factory=Counter)
    behaviours: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)  # seconds, of the small requests
    failures: list[str] = field(default_factory=list)


class Client:
    """One client of one server, which behaves by chance.

    context: for TLS; None for a plain server.
    """

    _addresses = itertools.count(1)

    def __init__(
        self, port: int, context: ssl.SSLContext | None, chance: random.Random, outcome: Outcome
    ) -> None:
        self.chance = chance
        self.expected: Counter[str] = Counter()
        self._port = port
        self._context = context
        self._outcome = outcome
        self._address = ""

    def behave(self, behaviour: Callable[[Client], None]) -> None:
        """Do it once, from an address that nobody else has."""
        number = next(self._addresses)
        self._address = f"127.{1 + (number >> 16) % 250}.{number >> 8 & 255}.{number & 255}"
        behaviour(self)
        self._outcome.behaviours[behaviour.__name__] += 1

    def connect(self) -> Connection:
        sock = self.connect_below_tls()
        if self._context is None:
            return Connection(sock)
        try:
            return Connection(TlsSocket(sock, self._context))
        except BaseException:
            sock.close()
            raise

    def connect_below_tls(self) -> socket.socket:
        sock = socket.socket()
        sock.settimeout(2 * DEADLINE)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.bind((self._address, 0))
            sock.connect(("127.0.0.1", self._port))
        except BaseException:
            sock.close()
            raise
        return sock

    @property
    def has_tls(self) -> bool:
        return self._context is not None

    def small_request(self, connection: Connection) -> None:
        """GET or a small POST, timed."""
        began = time.perf_counter()
        if self.chance.random() < 0.5:
            connection.ping()
        else:
            data = self.chance.randbytes(100)
            assert connection.post("/data", data).json() == data_description(data)
            self.expected["complete"] += 1
        self._outcome.latencies.append(time.perf_counter() - began)


# Those of good will.


def small_requests(client: Client) -> None:
    with client.connect() as connection:
        for _ in range(5):
            client.small_request(connection)


def form_upload(client: Client) -> None:
    body, described = client.chance.choice(_UPLOADS)
    with client.connect() as connection:
        response = connection.post("/form", body, {"Content-Type": FORM_TYPE})
        assert response.json() == described
        client.expected["complete"] += 1
        client.small_request(connection)


def chunked_form_upload(client: Client) -> None:
    body, described = client.chance.choice(_UPLOADS)
    pieces = pieces_of(body, client.chance.choice([10_000, 65_536, 300_000]))
    with client.connect() as connection:
        headers = {**CHUNKED, "Content-Type": FORM_TYPE}
        connection.send(head("POST", "/form", headers) + chunked(pieces))
        assert connection.response().json() == described
        client.expected["complete"] += 1


def raw_upload(client: Client) -> None:
    data = client.chance.choice(_DATA)
    with client.connect() as connection:
        for _ in range(2):
            assert connection.post("/stream", data).json() == data_description(data)
            client.expected["complete"] += 1


def chunked_upload(client: Client) -> None:
    data = client.chance.choice(_DATA)
    pieces = pieces_of(data, client.chance.choice([1000, 65_536]))
    with client.connect() as connection:
        connection.send(head("POST", "/plain", CHUNKED) + chunked(pieces))
        assert connection.response().json() == data_description(data)
        client.expected["complete"] += 1


def slow_upload(client: Client) -> None:
    """Ten times the minimum rate."""
    data = _DATA[0][:15_000]
    with client.connect() as connection:
        connection.send(head("POST", "/data", {"Content-Length": str(len(data))}))
        for piece in pieces_of(data, 500):
            connection.send(piece)
            time.sleep(0.05)
        assert connection.response().json() == data_description(data)
        client.expected["complete"] += 1


def unread_but_small(client: Client) -> None:
    with client.connect() as connection:
        response = connection.post("/unread", _DATA[0])
        assert (response.status, response.body) == (200, b"unread")
        client.expected["drained"] += 1
        client.small_request(connection)


# Those that the server has to put up with.


def unread_and_large(client: Client) -> None:
    with client.connect() as connection:
        response = connection.post("/unread", _DATA[-1])
        assert (response.status, response.body) == (200, b"unread")
        assert response.headers["connection"] == "close"
        assert connection.is_closed()
        client.expected["unread"] += 1


def stalls(client: Client) -> None:
    with client.connect() as connection:
        _send_half(client, connection)
        response = connection.response()
        # Who had sent little before is below the rate of a window sooner than it is idle.
        too_slow = b"too slowly" in response.body
        _check_refused(response, 408, "too slowly" if too_slow else "stopped arriving")
        client.expected["too_slow" if too_slow else "timed_out"] += 1


def trickles(client: Client) -> None:
    with client.connect() as connection:
        connection.ping()  # behind it only the answer can come, and nothing more of TLS's own
        connection.send(head("POST", "/data", {"Content-Length": "100000"}))
        while not connection.has_answer():
            connection.send(b"x")
            time.sleep(0.05)
        _check_refused(connection.response(), 408, "too slowly")
        client.expected["too_slow"] += 1


def resets(client: Client) -> None:
    with client.connect() as connection:
        _send_half(client, connection, wait_for_continue=True)
        connection.reset()
        client.expected["incomplete"] += 1


def closes_early(client: Client) -> None:
    with client.connect() as connection:
        _send_half(client, connection, wait_for_continue=True)
        client.expected["incomplete"] += 1


def ends_early(client: Client) -> None:
    with client.connect() as connection:
        _send_half(client, connection)
        connection.end_sending()
        _check_refused(connection.response(), 400, "incomplete")
        client.expected["incomplete"] += 1


def sends_malformed_chunks(client: Client) -> None:
    wire = chunk(_DATA[0]) * client.chance.randrange(4) + b"oops\r\n" + _DATA[1]
    with client.connect() as connection:
        connection.send(head("POST", "/data", CHUNKED) + wire)
        _check_refused(connection.response(), 400, "malformed")
        client.expected["malformed"] += 1


def announces_too_much(client: Client) -> None:
    """And sends it, whether or not there is an answer."""
    with client.connect() as connection:
        connection.send_request("POST", "/data", _TOO_LARGE)
        _check_refused(connection.response(), 413, "too large")
        client.expected["too_large"] += 1


def asks_before_it_sends_too_much(client: Client) -> None:
    with client.connect() as connection:
        headers = {"Content-Length": str(1 << 40), "Expect": "100-continue"}
        connection.send(head("POST", "/data", headers))
        _check_refused(connection.response(), 413, "too large")
        client.expected["too_large"] += 1


def sends_too_much_in_chunks(client: Client) -> None:
    with client.connect() as connection:
        connection.send(head("POST", "/stream", CHUNKED) + chunked(pieces_of(_TOO_LARGE, 65_536)))
        _check_refused(connection.response(), 413, "too large")
        client.expected["too_large"] += 1


def uploads_two_at_once(client: Client) -> None:
    """The second is refused, and sends its body all the same; the first goes on."""
    data = client.chance.choice(_DATA[1:])
    with client.connect() as first, client.connect() as second:
        headers = {"Content-Length": str(len(data)), "Expect": "100-continue"}
        first.send(head("POST", "/stream", headers))
        assert first.response().status == 100
        second.send_request("POST", "/stream", data)
        refusal = second.response()
        assert refusal.headers["retry-after"] == "10"
        assert refusal.status == 503, refusal
        client.expected["turned_away"] += 1
        first.send(data)
        assert first.response().json() == data_description(data)
        client.expected["complete"] += 1


def sends_no_request(client: Client) -> None:
    """Nothing, or half of the headers; over TLS half of a handshake, or nothing behind it."""
    if client.has_tls and client.chance.random() < 0.5:
        with client.connect_below_tls() as sock:
            sock.sendall(b"\x16\x03\x01\x02\x00"[: client.chance.randrange(5)])
            assert sock.recv(1000) == b""
        client.expected["handshake_failed"] += 1
        return
    with client.connect() as connection:
        connection.send(b"POST /data HTTP/1.1\r\nHost: x"[: client.chance.randrange(20)])
        assert connection.is_closed()
        client.expected["headers_timed_out"] += 1


GOOD_WILL: list[Callable[[Client], None]] = [
    small_requests,
    form_upload,
    chunked_form_upload,
    raw_upload,
    chunked_upload,
    slow_upload,
    unread_but_small,
]
OTHERS: list[Callable[[Client], None]] = [
    unread_and_large,
    stalls,
    trickles,
    resets,
    closes_early,
    ends_early,
    sends_malformed_chunks,
    announces_too_much,
    asks_before_it_sends_too_much,
    sends_too_much_in_chunks,
    uploads_two_at_once,
    sends_no_request,
]


def _send_half(client: Client, connection: Connection, *, wait_for_continue: bool = False) -> None:
    """Half of a body, as a form, as a raw body or in chunks."""
    body, _ = client.chance.choice(_UPLOADS)
    path = client.chance.choice(["/form", "/stream", "/data", "/plain", "/limited/form"])
    headers = {"Content-Type": FORM_TYPE}
    half = body[: client.chance.randrange(1, len(body) // 2)]
    if client.chance.random() < 0.5:
        headers |= CHUNKED
        half = chunk(half)
    else:
        headers["Content-Length"] = str(len(body))
    if wait_for_continue:
        connection.send(head("POST", path, {**headers, "Expect": "100-continue"}))
        assert connection.response().status == 100
        connection.send(half)
    else:
        connection.send(head("POST", path, headers) + half)


def _check_refused(response: Response, status: int, words: str) -> None:
    text = response.body.decode()
    assert response.status == status, (response.status, text)
    assert words in text
    assert response.headers["connection"] == "close"


class Crowd:
    """So many clients of one server, each in a thread."""

    def __init__(self, port: int, context: ssl.SSLContext | None, clients: int, seed: str) -> None:
        self.outcome = Outcome()
        self._end = 0.0
        self._clients = [
            Client(port, context, random.Random(f"{seed} {number}"), self.outcome)
            for number in range(clients)
        ]
        self._threads = [
            threading.Thread(target=self._run, args=(number, client), daemon=True)
            for number, client in enumerate(self._clients)
        ]

    def start(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        for thread in self._threads:
            thread.start()

    def join(self) -> Outcome:
        """Wait for all, each of which ends what it has begun."""
        for thread in self._threads:
            thread.join(self._end - time.monotonic() + 4 * DEADLINE)
            assert not thread.is_alive(), "a client hangs"
        for client in self._clients:
            self.outcome.expected.update(client.expected)
        return self.outcome

    def _run(self, number: int, client: Client) -> None:
        # One in five is of good will all the time, and so is about half of what the others do.
        always_of_good_will = number % 5 == 0
        while time.monotonic() < self._end and not self.outcome.failures:
            kind = client.chance.choice([GOOD_WILL, OTHERS])
            behaviour = client.chance.choice(GOOD_WILL if always_of_good_will else kind)
            try:
                client.behave(behaviour)
            except Exception:
                told = f"client {number}, {behaviour.__name__}:\n{traceback.format_exc()}"
                self.outcome.failures.append(told)
            time.sleep(client.chance.uniform(0, 0.1))
