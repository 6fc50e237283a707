"""The servers that the load test can start, as command lines.

Each serves an application that does the same job: GET /ping, POST /upload (a form with files in
`file`, spooled to disk), PUT /raw (the body, counted), POST /refuse (401, the body unread). What
several servers can be told is the same for all. A server is a name of `NAMES`, or
`name=dotted.Class` for any gunicorn worker; those that are not gunicorn's are peers, and their
packages those of requirements/peers.txt.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loadtest.errors import UsageError
from loadtest.servers.certificates import Certificate

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(__file__).resolve().parent / "peers"
WSGI = "examples.demo:app"
STORING = "examples.upload_server:app"
THREADS = "40"  # of servers that answer each request in a thread: more than the usual 32 uploads


@dataclass(frozen=True)
class Launch:
    """What a command line needs to know. The server's directory has ROOT on its module path."""

    host: str
    port: int
    workers: int
    certificate: Certificate | None = None
    http2: bool = False
    application: str = WSGI

    @property
    def bind(self) -> str:
        return f"{self.host}:{self.port}"


Command = Callable[[Launch], list[str]]


@dataclass(frozen=True)
class Server:
    """A kind of server: its name in the results, how it is started, and which packages it needs.

    A peer is started without TLS and with one process; nginx in front can give it TLS.
    """

    name: str
    command: Command
    packages: tuple[str, ...] = ()

    @property
    def is_peer(self) -> bool:
        return bool(self.packages)


def _gunicorn(worker: str, *extra: str) -> Command:
    def command(launch: Launch) -> list[str]:
        line = [sys.executable, "-m", "gunicorn", "-k", worker, "-w", str(launch.workers)]
        line += ["-b", launch.bind, "--graceful-timeout", "1", "--pythonpath", str(ROOT), *extra]
        if launch.certificate:
            line += ["--certfile", launch.certificate.chain, "--keyfile", launch.certificate.key]
        if launch.http2:
            line += ["--http-protocols", "h2,h1"]
        return [*line, launch.application]

    return command


def _uvicorn(launch: Launch) -> list[str]:
    line = [sys.executable, "-m", "uvicorn", "--app-dir", str(PEERS), "--no-access-log"]
    return [*line, "--host", launch.host, "--port", str(launch.port), "starlette_app:app"]


def _aiohttp(launch: Launch) -> list[str]:
    return [sys.executable, str(PEERS / "aiohttp_app.py"), launch.host, str(launch.port)]


def _granian(launch: Launch) -> list[str]:
    line = [sys.executable, "-m", "granian", "--interface", "wsgi", "--blocking-threads", THREADS]
    line += ["--working-dir", str(ROOT), "--host", launch.host, "--port", str(launch.port)]
    return [*line, launch.application]


def _waitress(launch: Launch) -> list[str]:
    # Its limit of 1 GiB on a body would refuse what the others receive.
    line = [sys.executable, "-m", "waitress", "--max-request-body-size", str(1 << 40)]
    return [*line, "--threads", THREADS, "--listen", launch.bind, launch.application]


CATALOGUE = {
    "gevent": Server("gevent", _gunicorn("gevent")),
    "cooperative": Server("cooperative", _gunicorn("cooperative_upload.Worker")),
    "gthread": Server("gthread", _gunicorn("gthread", "--threads", THREADS)),
    "sync": Server("sync", _gunicorn("sync")),
    "uvicorn": Server("uvicorn", _uvicorn, ("uvicorn", "starlette", "python_multipart")),
    "aiohttp": Server("aiohttp", _aiohttp, ("aiohttp",)),
    "granian": Server("granian", _granian, ("granian",)),
    "waitress": Server("waitress", _waitress, ("waitress",)),
}
NAMES = tuple(CATALOGUE)


def find_server(spec: str) -> Server:
    """The server that `spec` names. Raises UsageError if there is none, or not all it needs."""
    if not (ROOT / "examples" / "demo.py").exists():
        raise UsageError("The bundled application is in a checkout only: use --url, or run there.")
    name, _, worker = spec.partition("=")
    if worker:
        return Server(name, _gunicorn(worker))
    if name not in CATALOGUE:
        raise UsageError(
            f"{name!r} is no server of the load test: use {', '.join(NAMES)}, or "
            "name=dotted.Worker for a gunicorn worker."
        )
    server = CATALOGUE[name]
    missing = [package for package in server.packages if not importlib.util.find_spec(package)]
    if missing:
        raise UsageError(
            f"{name} needs the Python package {missing[0]}: pip install -r requirements/peers.txt."
        )
    return server
