"""The process that probes: small requests on an open-loop schedule.

Request i is due in the i-th interval, at a random moment of it, whatever became of those before: a
server that answers nothing for 12 s gets its 12 s of requests all the same, and each counts from
the moment it was due, not from when a connection was free for it (coordinated omission). Every
other request goes over one of a few keep-alive connections, the rest over a new connection each.
A request that is not answered within the window counts with the time it waited.
"""

from __future__ import annotations

import collections
import random
import select
import selectors
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass

from loadtest.clients.connection import Address, Connection
from loadtest.clients.crew import Station
from loadtest.clients.http1 import ProtocolError, Request
from loadtest.clients.protocols import Exchange, Session, make_session

KEEPALIVE, NEW = "keep-alive", "new"
POOL = 8  # keep-alive connections: a browser opens 6 to a host
MAX_OPEN = 900  # connections: below the usual limit of 1,024 descriptors
REPORT_SECONDS = 0.1


@dataclass(frozen=True)
class ProbeJob:
    """What the process has to do: `rate` requests a second, until told to stop.

    After the stop, answers are awaited for `drain` seconds.
    """

    address: Address
    target: str
    headers: tuple[tuple[str, str], ...]
    rate: float
    connections: tuple[str, ...]
    seed: int
    drain: float


@dataclass(frozen=True)
class Probe:
    """One small request, as it went. Times in seconds of the common clock."""

    due: float
    sent: float  # when a connection took it; later than `due` if none was free or we were late
    end: float
    connection: str
    outcome: str  # "ok", "unanswered", or a clause that says what went wrong

    @property
    def latency(self) -> float:
        return self.end - self.due


@dataclass(frozen=True)
class ProbeProgress:
    """So far; `worst` includes what those still open have waited."""

    worst: float
    count: int
    errors: int


@dataclass(frozen=True)
class ProbeResult:
    """All probes, how late the process itself was with them, and what they cost it."""

    probes: tuple[Probe, ...]
    lateness: tuple[float, ...]
    cpu_seconds: float


def schedule(rate: float, start: float, seed: int) -> Iterator[float]:
    """When requests are due: one in each interval of 1/rate, at a random moment of it.

    Random, so that they do not fall into step with a period of the server's own.
    """
    uniform = random.Random(seed).random
    number = 0
    while True:
        yield start + (number + uniform()) / rate
        number += 1


def run(job: ProbeJob, station: Station) -> ProbeResult:
    """The process's task."""
    prober = _Prober(job)
    cpu_before = time.process_time()
    prober.run(station.wait_for_go(), station)
    cpu_seconds = time.process_time() - cpu_before
    return ProbeResult(tuple(prober.probes), tuple(prober.lateness), cpu_seconds)


class _Pending:
    """A request that is due and not answered yet."""

    def __init__(self, due: float, kind: str) -> None:
        self.due = due
        self.kind = kind
        self.sent = 0.0
        self.exchange: Exchange | None = None
        self.retried = False


class _Line:
    """A connection and the request it carries."""

    def __init__(self, connection: Connection, session: Session, kind: str) -> None:
        self.connection = connection
        self.session = session
        self.kind = kind
        self.pending: _Pending | None = None
        self.used = False  # it has carried a request before
        self.closed = False


class _Prober:
    def __init__(self, job: ProbeJob) -> None:
        self._job = job
        self._request = Request("GET", job.target, job.address.authority, job.headers)
        self._context: ssl.SSLContext | None = job.address.client_context()
        self._selector = selectors.EpollSelector()
        self._free: collections.deque[_Line] = collections.deque()
        self._keepalive_lines = 0
        self._queues: dict[str, collections.deque[_Pending]] = {
            kind: collections.deque() for kind in job.connections
        }
        self._open: set[_Pending] = set()
        self._errors = 0
        self._worst = 0.0
        self.probes: list[Probe] = []
        self.lateness: list[float] = []

    def run(self, start: float, station: Station) -> None:
        due_times = schedule(self._job.rate, start, self._job.seed)
        due, number = next(due_times), 0
        next_report, stop_at, end = start, None, None
        while end is None or (self._open and time.perf_counter() < end):
            now = time.perf_counter()
            if now >= next_report:
                stop_at = station.stop_at()
                station.progress(self._progress(now))
                next_report = now + REPORT_SECONDS
            while due <= now and (stop_at is None or due < stop_at):
                kind = self._job.connections[number % len(self._job.connections)]
                self.lateness.append(now - due)
                self._ask(_Pending(due, kind))
                due, number = next(due_times), number + 1
            if end is None and stop_at is not None and due >= stop_at:
                end = stop_at + self._job.drain
            self._wait(next_report if end is not None else min(due, next_report))
        for pending in list(self._open):
            self._finish(pending, "unanswered")

    def _progress(self, now: float) -> ProbeProgress:
        waiting = max((now - pending.due for pending in self._open), default=0.0)
        return ProbeProgress(max(self._worst, waiting), len(self.probes), self._errors)

    def _wait(self, until: float) -> None:
        # epoll's own timeout is rounded up to whole milliseconds, which is as long as an idle
        # server takes to answer; select on the epoll's descriptor waits to the microsecond.
        timeout = max(0.0, until - time.perf_counter())
        if select.select([self._selector.fileno()], [], [], timeout)[0]:
            for key, _ in self._selector.select(0):
                if not key.data.closed:  # by what was served just before
                    self._serve(key.data)

    def _ask(self, pending: _Pending) -> None:
        """Send the request now if a connection can be had, else queue it for the next one."""
        self._open.add(pending)
        if pending.kind == KEEPALIVE and self._free:
            self._assign(self._free.popleft(), pending)
        elif self._may_connect(pending.kind):
            self._assign(self._connect(pending.kind), pending)
        else:
            self._queues[pending.kind].append(pending)

    def _may_connect(self, kind: str) -> bool:
        if kind == KEEPALIVE:
            return self._keepalive_lines < POOL
        return len(self._selector.get_map()) < MAX_OPEN

    def _connect(self, kind: str) -> _Line:
        line = _Line(
            Connection(self._job.address, self._context),
            make_session(self._job.address.protocol),
            kind,
        )
        if kind == KEEPALIVE:
            self._keepalive_lines += 1
        self._selector.register(line.connection, line.connection.interest, line)
        return line

    def _assign(self, line: _Line, pending: _Pending) -> None:
        line.pending = pending
        pending.sent = time.perf_counter()
        pending.exchange = line.session.begin(self._request)
        if line.connection.open:
            self._serve(line)

    def _serve(self, line: _Line) -> None:
        """Do what can be done at once on a connection that is ready."""
        connection, pending = line.connection, line.pending
        try:
            if not connection.open:
                if not connection.establish():
                    self._listen(line, connection.interest)
                    return
                self._listen(line, selectors.EVENT_READ)
            if pending is None or pending.exchange is None:
                connection.receive()  # the server closes a connection that is not in use
                self._discard(line)
                return
            exchange = pending.exchange
            while len(data := exchange.outgoing()):
                if not (count := connection.send(data)):
                    self._listen(line, selectors.EVENT_READ | selectors.EVENT_WRITE)
                    return
                exchange.sent(count)
            self._listen(line, selectors.EVENT_READ)
            while exchange.answer is None and (received := connection.receive()) is not None:
                exchange.receive(received)
            if exchange.answer is not None:
                self._answered(line, pending, exchange)
        except (OSError, ProtocolError) as error:
            self._broken(line, error)

    def _answered(self, line: _Line, pending: _Pending, exchange: Exchange) -> None:
        assert exchange.answer is not None
        status = exchange.answer.status
        self._finish(pending, "ok" if 200 <= status < 300 else f"answered {status}")
        line.pending, line.used = None, True
        if line.kind == NEW or not exchange.reusable:
            self._discard(line)
        elif self._queues[KEEPALIVE]:
            self._assign(line, self._queues[KEEPALIVE].popleft())
        else:
            self._free.append(line)

    def _broken(self, line: _Line, error: Exception) -> None:
        pending = line.pending
        line.pending = None
        self._discard(line)
        if pending is None:
            return
        exchange = pending.exchange
        begun = exchange is not None and exchange.begun
        if line.used and not begun and not pending.retried:
            # The server closed an idle connection while the request was on its way: every
            # client asks again then (RFC 9110, section 9.2.2), and its user waits meanwhile.
            pending.retried = True
            self._open.discard(pending)
            self._ask(pending)
        else:
            reason = error.strerror if isinstance(error, OSError) else None
            self._finish(pending, f"broken ({reason or error})")

    def _discard(self, line: _Line) -> None:
        self._selector.unregister(line.connection)
        line.connection.close()
        line.closed = True
        if line.kind == KEEPALIVE:
            self._keepalive_lines -= 1
            if line in self._free:
                self._free.remove(line)
        queue = self._queues[line.kind]
        if queue and self._may_connect(line.kind):
            self._assign(self._connect(line.kind), queue.popleft())

    def _finish(self, pending: _Pending, outcome: str) -> None:
        now = time.perf_counter()
        self._open.discard(pending)
        probe = Probe(pending.due, pending.sent, now, pending.kind, outcome)
        self._errors += outcome != "ok"
        self._worst = max(self._worst, probe.latency)
        self.probes.append(probe)

    def _listen(self, line: _Line, events: int) -> None:
        if self._selector.get_key(line.connection).events != events:
            self._selector.modify(line.connection, events, line)
