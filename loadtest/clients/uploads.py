"""The process that uploads: N clients, one thread, prepared bytes.

Each client sends its requests one after another on one connection, as its pace allows, and listens
for an early answer meanwhile, as a browser does. Sends never block; a ready socket gets one send
of at most 1 MiB and then the others have theirs, so that no client is served at another's cost.
What the server says about an upload is held against what was sent.
"""

from __future__ import annotations

import heapq
import json
import selectors
import ssl
import time
from dataclasses import dataclass

from loadtest.clients.bodies import Body, make_body, random_block
from loadtest.clients.connection import Address, Connection
from loadtest.clients.crew import Station
from loadtest.clients.http1 import ProtocolError, Request
from loadtest.clients.pace import Pace, make_pace, size_at
from loadtest.clients.protocols import Exchange, Session, make_session

REPORT_SECONDS = 0.1
STOPPED = "ended when told to"  # the outcome of what was open then
CLIENT = "{client}"  # in a target: the number of the client, so that each stores its own file


@dataclass(frozen=True)
class UploadJob:
    """What the process has to do: `clients` times `requests` uploads of `size` bytes.

    `speeds` are given to the clients in turn. After `seconds`, or when the process is told to
    stop, everything still open is given up.
    """

    address: Address
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    field: str
    kind: str
    clients: int
    requests: int
    size: int
    speeds: tuple[str, ...]
    seed: int
    verify_sha256: bool
    seconds: float


@dataclass(frozen=True)
class Upload:
    """One upload, as it went. Times in seconds of the common clock.

    `sent` and `length` are bytes of body, `content` bytes of the file or files in it.
    """

    client: int
    start: float
    end: float
    sent: int
    length: int
    content: int
    outcome: str  # "ok", or a clause that says what went wrong
    status: int = 0


@dataclass(frozen=True)
class UploadProgress:
    """So far."""

    sent: int
    done: int


@dataclass(frozen=True)
class UploadResult:
    """All uploads, and what they cost the client.

    `late` is how long an answer may have lain in its socket before the client looked, in seconds,
    where that is measured.
    """

    uploads: tuple[Upload, ...]
    cpu_seconds: float
    late: float = 0.0


def run(job: UploadJob, station: Station) -> UploadResult:
    """The process's task."""
    fleet = _Fleet(job, make_bodies(job))
    cpu_before = time.process_time()
    start = station.wait_for_go()
    fleet.run(start, station)
    return UploadResult(tuple(fleet.uploads), time.process_time() - cpu_before)


def make_bodies(job: UploadJob) -> dict[str, Body]:
    """The body that a client of each speed sends."""
    block = random_block(job.seed)
    bodies = {
        speed: make_body(job.kind, size_at(speed, job.size), block=block, field=job.field)
        for speed in job.speeds
    }
    if job.verify_sha256:
        for body in bodies.values():
            _ = body.sha256  # slow: before the clock starts
    return bodies


def judge(status: int, answer: bytes, body: Body, *, verify_sha256: bool) -> str:
    """The outcome of an upload that was sent whole: "ok" or what is wrong with the answer."""
    if not 200 <= status < 300:
        return f"refused with status {status}"
    try:
        said = json.loads(answer)
    except ValueError:
        said = None
    facts = said if isinstance(said, dict) else {}
    if "size" in facts and facts["size"] != body.file_size:
        received = facts["size"]
        shown = f"{received:,}" if isinstance(received, int) else repr(received)
        return f"the server received {shown} of {body.file_size:,} bytes"
    if verify_sha256 and facts.get("sha256") != body.sha256:
        return "the server's SHA-256 differs" if "sha256" in facts else "no SHA-256 in the answer"
    return "ok"


class _Client:
    """One client and its upload in progress."""

    def __init__(self, index: int, speed: str, request: Request, requests: int) -> None:
        assert request.body is not None
        self.index = index
        self.speed = speed
        self.request = request
        self.body: Body = request.body
        self.left = requests
        self.connection: Connection | None = None
        self.session: Session
        self.exchange: Exchange | None = None
        self.pace: Pace
        self.start = 0.0
        self.waiting = False  # for its pace: a wake-up is in the fleet's heap


class _Fleet:
    """All clients and their selector."""

    def __init__(self, job: UploadJob, bodies: dict[str, Body]) -> None:
        self._job = job
        self._context: ssl.SSLContext | None = job.address.client_context()
        self._selector = selectors.DefaultSelector()
        self._wakeups: list[tuple[float, int]] = []
        self._clients = [self._client(index, bodies) for index in range(job.clients)]
        self._open = 0
        self.sent = 0
        self.uploads: list[Upload] = []

    def _client(self, index: int, bodies: dict[str, Body]) -> _Client:
        job = self._job
        speed = job.speeds[index % len(job.speeds)]
        target = job.target.replace(CLIENT, str(index))
        request = Request(job.method, target, job.address.authority, job.headers, bodies[speed])
        # A slow client has its hands full with one small body.
        return _Client(index, speed, request, job.requests if speed == "full" else 1)

    def run(self, start: float, station: Station) -> None:
        deadline = start + self._job.seconds
        for client in self._clients:
            self._begin(client)
        next_report, stop_at = start, None
        while self._open:
            now = time.perf_counter()
            if now >= next_report:
                stop_at = station.stop_at()
                station.progress(UploadProgress(self.sent, len(self.uploads)))
                next_report = now + REPORT_SECONDS
            if stop_at is not None:
                self._give_up(STOPPED)
                break
            if now >= deadline:
                self._give_up(f"not over after {self._job.seconds:.0f} s")
                break
            self._wake(now)
            until = min([deadline, next_report, *(at for at, _ in self._wakeups[:1])])
            for key, _ in self._selector.select(max(0.0, until - time.perf_counter())):
                self._serve(key.data)
        station.progress(UploadProgress(self.sent, len(self.uploads)))

    def _begin(self, client: _Client) -> None:
        """Start the next request of `client`, on its connection if it has one."""
        client.left -= 1
        client.pace = make_pace(client.speed, client.body.length)
        client.start = time.perf_counter()
        if client.connection is None:
            client.connection = Connection(self._job.address, self._context)
            client.session = make_session(self._job.address.protocol)
            self._selector.register(client.connection, selectors.EVENT_WRITE, client)
            self._open += 1
        else:
            self._listen(client, selectors.EVENT_READ | selectors.EVENT_WRITE)
        client.exchange = client.session.begin(client.request)

    def _serve(self, client: _Client) -> None:
        """Do what can be done at once for a client whose socket is ready."""
        connection, exchange = client.connection, client.exchange
        assert connection is not None
        assert exchange is not None
        try:
            if not connection.open:
                if not connection.establish():
                    self._listen(client, connection.interest)
                    return
                self._listen(client, selectors.EVENT_READ | selectors.EVENT_WRITE)
            self._send(client, connection, exchange)
            self._receive(client, connection, exchange)
        except OSError as error:
            # The answer to a refused upload may lie in the socket that refuses our bytes.
            self._salvage(client, connection, exchange)
            if exchange.answer is None:
                self._end(client, f"cut ({error.strerror or error})")
            else:
                self._answered(client, exchange)
        except ProtocolError as error:
            self._end(client, f"cut ({error})")

    def _send(self, client: _Client, connection: Connection, exchange: Exchange) -> None:
        data = exchange.outgoing()
        if not len(data):
            self._listen(client, selectors.EVENT_READ)
            return
        elapsed = time.perf_counter() - client.start
        allowed = client.pace.allowance(elapsed, exchange.body_sent)
        if allowed == 0:
            self._listen(client, selectors.EVENT_READ)
            if not client.waiting:
                client.waiting = True
                wake = client.start + client.pace.next_time(elapsed, exchange.body_sent)
                heapq.heappush(self._wakeups, (wake, client.index))
            return
        before = exchange.body_sent
        exchange.sent(connection.send(data[:allowed]))
        self.sent += exchange.body_sent - before

    def _receive(self, client: _Client, connection: Connection, exchange: Exchange) -> None:
        while exchange.answer is None:
            data = connection.receive()
            if data is None:
                return
            exchange.receive(data)
            # HTTP/2: the server may have opened its window, so that more can be sent.
            self._listen(client, selectors.EVENT_READ | selectors.EVENT_WRITE)
        self._answered(client, exchange)

    def _salvage(self, client: _Client, connection: Connection, exchange: Exchange) -> None:
        try:
            while exchange.answer is None and (data := connection.receive()):
                exchange.receive(data)
        except (OSError, ProtocolError):
            return

    def _answered(self, client: _Client, exchange: Exchange) -> None:
        assert exchange.answer is not None
        status, answer = exchange.answer.status, exchange.answer.body
        outcome = judge(status, answer, client.body, verify_sha256=self._job.verify_sha256)
        if outcome == "ok" and exchange.body_sent < client.body.length:
            outcome = f"answered {status} before it was sent"
        self._end(client, outcome, status, reusable=exchange.reusable)

    def _end(
        self, client: _Client, outcome: str, status: int = 0, *, reusable: bool = False
    ) -> None:
        assert client.exchange is not None
        assert client.connection is not None
        self.uploads.append(
            Upload(
                client.index,
                client.start,
                time.perf_counter(),
                client.exchange.body_sent,
                client.body.length,
                client.body.file_size,
                outcome,
                status,
            )
        )
        client.exchange = None
        if outcome != "ok":
            client.left = 0  # the server has said no: one clear refusal tells more than many
        if not reusable or not client.left:
            self._selector.unregister(client.connection)
            client.connection.close()
            client.connection = None
            self._open -= 1
        if client.left:
            self._begin(client)

    def _wake(self, now: float) -> None:
        while self._wakeups and self._wakeups[0][0] <= now:
            client = self._clients[heapq.heappop(self._wakeups)[1]]
            client.waiting = False
            if client.connection is not None:
                self._listen(client, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def _listen(self, client: _Client, events: int) -> None:
        assert client.connection is not None
        if self._selector.get_key(client.connection).events != events:
            self._selector.modify(client.connection, events, client)

    def _give_up(self, outcome: str) -> None:
        for client in self._clients:
            client.left = 0
            if client.exchange is not None:
                self._end(client, outcome)
