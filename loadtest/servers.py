"""The servers that the load test can start, as command lines.

Each serves an application that does the same job: GET /ping, POST /upload (a form with one file in
`file`, spooled to disk), PUT /raw (the body, counted). Settings that several servers have are the
same for all. A server is a name of `NAMES`, or `name=dotted.Class` for any gunicorn worker.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loadtest.certificates import Certificate
from loadtest.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent
APPLICATION = ROOT / "examples" / "demo.py"
THREADS = 40  # of servers that answer each request in a thread: more than the usual 32 uploads


@dataclass(frozen=True)
class Launch:
    """What a command line needs to know."""

    host: str
    port: int
    workers: int
    certificate: Certificate | None = None
    http2: bool = False


@dataclass(frozen=True)
class Server:
    """A kind of server: its name in the results, and how it is started."""

    name: str
    command: Callable[[Launch], list[str]]


def _gunicorn(worker: str, *extra: str) -> Callable[[Launch], list[str]]:
    def command(launch: Launch) -> list[str]:
        line = [
            sys.executable,
            "-m",
            "gunicorn",
            "-k",
            worker,
            "-w",
            str(launch.workers),
            "-b",
            f"{launch.host}:{launch.port}",
            "--graceful-timeout",
            "1",
            "--pythonpath",
            f"{APPLICATION.parent},{ROOT}",
            *extra,
        ]
        if launch.certificate:
            line += ["--certfile", launch.certificate.chain, "--keyfile", launch.certificate.key]
        if launch.http2:
            line += ["--http-protocols", "h2,h1"]
        return [*line, f"{APPLICATION.stem}:app"]

    return command


CATALOGUE = {
    "gevent": _gunicorn("gevent"),
    "cooperative": _gunicorn("cooperative_upload.Worker"),
    "gthread": _gunicorn("gthread", "--threads", str(THREADS)),
    "sync": _gunicorn("sync"),
}
NAMES = tuple(CATALOGUE)


def find_server(spec: str) -> Server:
    """The server that `spec` names. Raises UsageError if there is none."""
    name, _, worker = spec.partition("=")
    if worker:
        return Server(name, _gunicorn(worker))
    if name not in CATALOGUE:
        known = ", ".join(NAMES)
        raise UsageError(
            f"{name!r} is no server of the load test: use {known}, or name=dotted.Worker for a "
            "gunicorn worker."
        )
    return Server(name, CATALOGUE[name])
