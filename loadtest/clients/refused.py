"""The process of the clients that are refused: each announces a large body and is told no.

They differ in when they look for the answer, and stop once they have seen its status:

expect    says `Expect: 100-continue`, sends the body after 100 Continue, or after a second
          without any answer, and then does as `watch` (curl)
watch     sends the body at once, and looks for the answer between two sends (browsers)
send-all  sends the whole body before it looks (http.client, and whoever is built on it)

A client that can't send because the server has cut the connection is not told anything: an answer
that may lie in its socket does not count, for whether it does depends on the network.
"""

from __future__ import annotations

import collections
import selectors
import ssl
import time
from dataclasses import dataclass

from loadtest.clients.bodies import make_body, random_block
from loadtest.clients.connection import Address, Connection
from loadtest.clients.crew import Station
from loadtest.clients.http1 import Exchange, ProtocolError, Request
from loadtest.clients.uploads import REPORT_SECONDS, Upload, UploadProgress, UploadResult

EXPECT, WATCH, SEND_ALL = KINDS = ("expect", "watch", "send-all")
# What became of a client. A cut is a reset or an end of the connection before any status.
REFUSED, WRONG, CUT, UNANSWERED = "refused", "wrong", "cut", "unanswered"
PIECE = 64 * 1024  # bytes of one send, as curl's: a round of 100 clients takes a few ms
PATIENCE = 1.0  # seconds that `expect` waits, as curl does


@dataclass(frozen=True)
class RefusedJob:
    """What the process has to do: `clients` requests at once, of `kinds` in turn.

    The bodies carry `size` bytes of content, those of send-all `send_all_size`. `status` is the
    refusal; after `seconds` whoever has none is given up.
    """

    address: Address
    target: str
    headers: tuple[tuple[str, str], ...]
    field: str
    body: str
    clients: int
    kinds: tuple[str, ...]
    size: int
    send_all_size: int
    status: int
    seed: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Refusal(Upload):
    """One request, as it went.

    `waited` counts from the last byte of the headers to the status, or to the end where there was
    none. `sent_before` are the bytes of body that had gone out when the status was seen.
    """

    kind: str
    fate: str
    waited: float
    sent_before: int | None


def run(job: RefusedJob, station: Station) -> UploadResult:
    """The process's task."""
    crowd = _Crowd(job)
    cpu_before = time.process_time()
    crowd.run(station.wait_for_go(), station)
    cpu_seconds = time.process_time() - cpu_before
    return UploadResult(tuple(crowd.refusals), cpu_seconds, crowd.longest_round)


class _Client:
    """One client, what it has seen, and when."""

    def __init__(
        self, index: int, kind: str, request: Request, address: Address, tls: ssl.SSLContext | None
    ) -> None:
        assert request.body is not None
        self.index = index
        self.kind = kind
        self.length = request.body.length
        self.exchange = Exchange(request)
        self.start = time.perf_counter()
        self.connection = Connection(address, tls)
        self.head_at: float | None = None
        self.status_at: float | None = None
        self.sent_before: int | None = None
        self.holds_back = kind == EXPECT

    @property
    def sends(self) -> bool:
        """Whether there is something to send now."""
        if self.exchange.status or not len(self.exchange.outgoing()):
            return False
        return not (self.holds_back and self.exchange.head_sent)

    @property
    def looks(self) -> bool:
        """Whether it looks for the answer now."""
        return self.kind != SEND_ALL or not self.sends

    def send(self) -> None:
        self.exchange.sent(self.connection.send(self.exchange.outgoing()[:PIECE]))
        if self.head_at is None and self.exchange.head_sent:
            self.head_at = time.perf_counter()

    def receive(self) -> None:
        """Take what has arrived."""
        while self.exchange.answer is None:
            data = self.connection.receive()
            if data is None:
                return
            self.exchange.receive(data)
            if self.exchange.told_to_continue:
                self.holds_back = False
            if self.exchange.status and self.status_at is None:
                self.status_at = time.perf_counter()
                self.sent_before = self.exchange.body_sent


class _Crowd:
    """All clients and their selector."""

    def __init__(self, job: RefusedJob) -> None:
        self._job = job
        self._context = job.address.client_context()
        self._selector = selectors.DefaultSelector()
        self._requests = {kind: make_request(job, kind) for kind in job.kinds}
        # Of those that hold back; all for the same time, so that the first is the next one due.
        self._patience: collections.deque[tuple[float, _Client]] = collections.deque()
        self._open: list[_Client] = []
        self.refusals: list[Refusal] = []
        self.longest_round = 0.0  # of looks at all clients whose sockets were ready

    def run(self, start: float, station: Station) -> None:
        deadline, next_report = start + self._job.seconds, start
        for index in range(self._job.clients):
            self._begin(index)
        while self._open:
            now = time.perf_counter()
            if now >= next_report:
                station.stop_at()  # notices a parent that is gone
                station.progress(self._progress())
                next_report = now + REPORT_SECONDS
            if now >= deadline:
                self._give_up()
                break
            self._lose_patience(now)
            until = min([deadline, next_report, *(at for at, _ in list(self._patience)[:1])])
            ready = self._selector.select(max(0.0, until - time.perf_counter()))
            begin = time.perf_counter()
            for key, _ in ready:
                self._serve(key.data)
            self.longest_round = max(self.longest_round, time.perf_counter() - begin)
        station.progress(self._progress())

    def _progress(self) -> UploadProgress:
        ended = sum(refusal.sent for refusal in self.refusals)
        underway = sum(client.exchange.body_sent for client in self._open)
        return UploadProgress(ended + underway, len(self.refusals))

    def _begin(self, index: int) -> None:
        kind = self._job.kinds[index % len(self._job.kinds)]
        client = _Client(index, kind, self._requests[kind], self._job.address, self._context)
        self._selector.register(client.connection, client.connection.interest, client)
        self._open.append(client)

    def _serve(self, client: _Client) -> None:
        """Do what can be done at once for a client whose socket is ready."""
        connection = client.connection
        try:
            if not connection.open and not connection.establish():
                self._listen(client, connection.interest)
                return
            if client.looks:
                client.receive()
            if client.sends:
                self._send(client)
        except OSError as error:
            self._end(client, f"cut ({error.strerror or error})")
        except ProtocolError as error:
            self._end(client, f"cut ({error})")
        else:
            if client.exchange.answer is not None:
                self._end(client, "ok")
            else:
                reads = selectors.EVENT_READ if client.looks else 0
                self._listen(client, reads | (selectors.EVENT_WRITE if client.sends else 0))

    def _send(self, client: _Client) -> None:
        before = client.head_at
        client.send()
        if client.holds_back and before is None and client.head_at is not None:
            self._patience.append((client.head_at + PATIENCE, client))

    def _lose_patience(self, now: float) -> None:
        while self._patience and self._patience[0][0] <= now:
            client = self._patience.popleft()[1]
            client.holds_back = False
            if client in self._open:
                self._listen(client, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def _listen(self, client: _Client, events: int) -> None:
        if self._selector.get_key(client.connection).events != events:
            self._selector.modify(client.connection, events, client)

    def _give_up(self) -> None:
        for client in list(self._open):
            self._end(client, f"no answer after {self._job.seconds:g} s", fate=UNANSWERED)

    def _end(self, client: _Client, outcome: str, *, fate: str = CUT) -> None:
        self._open.remove(client)
        self._selector.unregister(client.connection)
        client.connection.close()
        end, status = time.perf_counter(), client.exchange.status
        if status:
            fate = REFUSED if status == self._job.status else WRONG
        if fate == WRONG:
            outcome = f"answered {status} instead of {self._job.status}"
        elif fate == REFUSED and outcome != "ok":
            outcome = f"answered {status}, then {outcome}"
        begun = client.start if client.head_at is None else client.head_at
        self.refusals.append(
            Refusal(
                client=client.index,
                start=client.start,
                end=end,
                sent=client.exchange.body_sent,
                length=client.length,
                content=0,
                outcome=outcome,
                status=status,
                kind=client.kind,
                fate=fate,
                waited=(client.status_at or end) - begun,
                sent_before=client.sent_before,
            )
        )


def make_request(job: RefusedJob, kind: str) -> Request:
    """What a client of `kind` asks."""
    size = min(job.size, job.send_all_size) if kind == SEND_ALL else job.size
    body = make_body(job.body, size, block=random_block(job.seed), field=job.field)
    expect = (("Expect", "100-continue"),) if kind == EXPECT else ()
    return Request("POST", job.target, job.address.authority, (*job.headers, *expect), body)
