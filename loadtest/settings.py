"""What one run of the load test does: every choice, with its default and the reason for it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from loadtest.clients.bodies import KINDS
from loadtest.clients.pace import HOLD, make_pace
from loadtest.clients.probes import KEEPALIVE, NEW
from loadtest.errors import UsageError

CONNECTIONS = {"both": (KEEPALIVE, NEW), "keep-alive": (KEEPALIVE,), "new": (NEW,)}
LOOPS = ("libev", "libuv")
PROXIES = ("nginx", "nginx-unbuffered")
MAX_RATE = 1000.0  # small requests a second: one Python process answers for their precision
MAX_CLIENTS = 900  # at once: below gunicorn's 1,000 connections and the usual 1,024 descriptors


@dataclass(frozen=True)
class Settings:
    """One run. Sizes in bytes, times in seconds.

    A scenario adds choices of its own, and defaults that differ, in a subclass.
    """

    # The stock worker first: what is compared with it comes last, and the verdict is about these.
    servers: tuple[str, ...] = ("gevent", "cooperative")
    # One upload starves a stock worker; eight show whether latency grows with their number.
    uploads: tuple[int, ...] = (1, 8)
    # Bytes of content in all, of each measurement. None: measured first, so that the run takes
    # about `seconds`.
    total: int | None = None
    # Bytes of content of one request. None: all that one client sends.
    size: int | None = None
    seconds: float = 60.0
    # Of the idle server: 300 small requests, three of them slower than p99.
    idle_seconds: float = 3.0
    body: str = "form"
    # Of the clients, in turn.
    speeds: tuple[str, ...] = ("full",)
    # Small requests a second: ten of them in the time in which a person notices a delay, and too
    # few to be a load of their own.
    rate: float = 100.0
    connections: str = "both"
    repeat: int = 1
    warm_up: bool = True
    seed: int = 1
    verify_sha256: bool = False
    # Until a measurement is given up.
    deadline: float = 300.0
    # For answers to small requests after the uploads' end.
    drain: float = 5.0
    workers: int = 1
    loop: str | None = None
    # 0: any free one.
    port: int = 0
    tls: bool = False
    http2: bool = False
    behind: str | None = None
    # Running servers of the user's own, instead of `servers`: nothing is started then.
    urls: tuple[str, ...] = ()
    insecure: bool = False
    # None: /upload for a form, /raw for a bare body, or what the scenario says.
    upload_path: str | None = None
    # Whether the servers store each raw body as a file, instead of counting its bytes.
    store: bool = False
    ping_path: str = "/ping"
    field: str = "file"
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def loads(self) -> tuple[int, ...]:
        """Numbers of clients at once, each of which is measured by itself."""
        return self.uploads

    @property
    def client_kinds(self) -> tuple[str, ...]:
        """Kinds of clients that are told apart in the results."""
        return ()

    def validate(self) -> None:
        """Raise UsageError with one sentence if a value makes no sense."""
        for ok, sentence in (
            (self.servers, "At least one server is needed."),
            (len(set(self.servers)) == len(self.servers), "A server is named twice."),
            (self.uploads, "At least one number of uploads is needed."),
            (all(n >= 0 for n in self.uploads), "A number of uploads cannot be negative."),
            (
                max(self.uploads, default=0) <= MAX_CLIENTS,
                f"More than {MAX_CLIENTS} uploads at once are too many.",
            ),
            (
                not self.store or "uvicorn" not in self.servers,
                "The application of uvicorn stores nothing: leave it out with --store.",
            ),
            (
                not self.store or self.body in ("raw", "chunked"),
                "What is stored is a bare body: --body raw or chunked.",
            ),
            (self.body in KINDS, f"The kind of body is one of {', '.join(KINDS)}."),
            (0 < self.rate <= MAX_RATE, f"The rate is more than 0 and at most {MAX_RATE:.0f}."),
            (self.connections in CONNECTIONS, "Connections are both, keep-alive or new."),
            (self.repeat >= 1, "A measurement is made once at least."),
            (0 < self.seconds < math.inf, "A run takes more than 0 seconds."),
            (
                0 < self.idle_seconds < math.inf,
                "The idle server is measured for more than 0 seconds.",
            ),
            (0 < self.deadline < math.inf, "The deadline is more than 0 seconds."),
            (0 <= self.port <= 65535, "A port is from 1 to 65535, or 0 for a free one."),
            (self.workers >= 1, "A server has one worker at least."),
            (self.behind in (None, *PROXIES), f"Behind is {' or '.join(PROXIES)}."),
            (not self.http2 or self.tls or self.urls, "HTTP/2 is measured over TLS: add --tls."),
            (not (self.http2 and self.body == "chunked"), "HTTP/2 has no chunked coding."),
            (self.ping_path.startswith("/"), "A path begins with a slash."),
            ((self.upload_path or "/").startswith("/"), "A path begins with a slash."),
            (self.loop in (None, *LOOPS), f"The event loop is one of {', '.join(LOOPS)}."),
            (
                not any(speed.startswith(HOLD) for speed in self.speeds),
                "A client that sends no more never ends.",
            ),
            *self.own_rules(),
        ):
            if not ok:
                raise UsageError(sentence)
        for speed in self.speeds:
            _check_speed(speed)

    def own_rules(self) -> Iterable[tuple[object, str]]:
        """What must hold beyond that in a scenario, each with the sentence if it does not."""
        return ()


def _check_speed(speed: str) -> None:
    try:
        make_pace(speed, 1)
    except ValueError as error:
        raise UsageError(f"{error}.") from None
