"""What one run of the load test does: every choice, with its default and the reason for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from loadtest.clients import refused
from loadtest.clients.bodies import KINDS
from loadtest.clients.pace import HOLD, make_pace
from loadtest.clients.probes import KEEPALIVE, NEW
from loadtest.errors import UsageError

CONNECTIONS = {"both": (KEEPALIVE, NEW), "keep-alive": (KEEPALIVE,), "new": (NEW,)}
LOOPS = ("libev", "libuv")
PROXIES = ("nginx", "nginx-unbuffered")
MAX_RATE = 1000.0  # small requests a second: one Python process answers for their precision
MAX_CLIENTS = 900  # at once: below gunicorn's 1,000 connections and the usual 1,024 descriptors

# What a scenario does otherwise than the uploads.
DEFAULTS: dict[str, dict[str, Any]] = {
    # So much that no server can take all of it instead of refusing it. On a server that tries to,
    # a worker is killed after 30 s; the rest is to see what becomes of its clients.
    "refusals": {"size": 2 * 1024**3, "deadline": 45.0},
    # One upload takes half a second or more, which is long against what its start and its end
    # cost; many short pairs say more on a machine that is shared than few long ones.
    "stalled": {"size": 100_000_000, "total": 500_000_000, "repeat": 7},
}
# What has no meaning in a scenario: better refused than ignored.
_OF_UPLOADS = ("uploads", "seconds", "speeds")
_OF_REFUSALS = ("kinds", "send_all_size", "status")
_MEANINGLESS = {
    "uploads": (*_OF_REFUSALS, "held"),
    "tax": (*_OF_REFUSALS, "held"),
    "refusals": (*_OF_UPLOADS, "total", "verify_sha256", "held"),
    "stalled": (*_OF_UPLOADS, *_OF_REFUSALS, "idle_seconds"),
}
_FLAGS = {"speeds": "speed", "verify_sha256": "sha256"}


@dataclass(frozen=True)
class Settings:
    """One run. Sizes in bytes, times in seconds."""

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
    # None: /upload for a form, /raw for a bare body, /refuse to be refused.
    upload_path: str | None = None
    # Whether the servers store each raw body as a file, instead of counting its bytes.
    store: bool = False
    # Pairs of turns of the tax scenario, which then takes the place of the uploads.
    tax: int = 0
    # Clients at once that are refused, which then take the place of the uploads, and their kinds,
    # in turn.
    refusals: int = 0
    kinds: tuple[str, ...] = refused.KINDS
    # Bytes of content of a client that sends everything before it looks for an answer: a server
    # can wait for that much before it closes the connection, and can't for 2 GiB.
    send_all_size: int = 8 * 1024**2
    # Of the refusal.
    status: int = 401
    # Clients that stall beside one fast upload, which then take the place of the uploads.
    stalled: int = 0
    # Bytes that each of them has sent: more than a server reads at once, less than it spools.
    held: int = 200_000
    ping_path: str = "/ping"
    field: str = "file"
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def scenario(self) -> str:
        """Which of the scenarios this is."""
        found = [name for name in ("tax", "refusals", "stalled") if getattr(self, name)]
        if len(found) > 1:
            raise UsageError(f"--{found[0]} and --{found[1]} are measured one at a time.")
        return found[0] if found else "uploads"

    @property
    def loads(self) -> tuple[int, ...]:
        """Numbers of clients at once, each of which is measured by itself."""
        clients = self.refusals or self.stalled
        return (clients,) if clients else self.uploads

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
                max(self.refusals, self.stalled) <= MAX_CLIENTS,
                f"More than {MAX_CLIENTS} clients at once are too many.",
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
            (not (self.http2 and self.tax), "The cost of a request is measured over HTTP/1.1."),
            (not (self.tls and self.tax), "The cost of a request is measured without TLS."),
            (not (self.http2 and self.body == "chunked"), "HTTP/2 has no chunked coding."),
            (self.ping_path.startswith("/"), "A path begins with a slash."),
            ((self.upload_path or "/").startswith("/"), "A path begins with a slash."),
            (self.loop in (None, *LOOPS), f"The event loop is one of {', '.join(LOOPS)}."),
            (
                self.kinds and set(self.kinds) <= set(refused.KINDS),
                f"The kinds of refused clients are {', '.join(refused.KINDS)}.",
            ),
            (400 <= self.status <= 599, "The status of a refusal is from 400 to 599."),
            (
                not self.refusals
                or (self.behind != "nginx" and "waitress" not in self.servers)
                or self.urls,
                "nginx and waitress store a body before the application can refuse it; "
                "--behind nginx-unbuffered does not.",
            ),
            (
                not self.stalled or self.held < (self.size or 0),
                "A stalled client has something left to send: --held is less than --size.",
            ),
            (
                not (self.http2 and (self.refusals or self.stalled)),
                "Refused and stalled clients are measured over HTTP/1.1.",
            ),
            (
                not any(speed.startswith(HOLD) for speed in self.speeds),
                "A client that sends no more never ends: use --stalled.",
            ),
        ):
            if not ok:
                raise UsageError(sentence)
        for speed in self.speeds:
            _check_speed(speed)
        self._check_meaning()

    def _check_meaning(self) -> None:
        """Raise UsageError if an option was given that this scenario does not know."""
        defaults = {field.name: field.default for field in fields(self)}
        for name in _MEANINGLESS[self.scenario]:
            if getattr(self, name) != defaults[name]:
                flag = _FLAGS.get(name, name.replace("_", "-"))
                raise UsageError(f"--{flag} means nothing to the scenario of {self.scenario}.")


def make_settings(said: dict[str, Any]) -> Settings:
    """What was said on the command line, and for all else the scenario's defaults."""
    return Settings(**{**DEFAULTS.get(Settings(**said).scenario, {}), **said})


def _check_speed(speed: str) -> None:
    try:
        make_pace(speed, 1)
    except ValueError as error:
        raise UsageError(f"{error}.") from None
