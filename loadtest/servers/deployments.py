"""A server that answers, however it is deployed: started here, behind nginx, with TLS, or remote.

`Deployer.running(spec)` is the one way to get at it. What was started is ended when that context
is left, in whatever way.
"""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from loadtest.clients.connection import Address
from loadtest.errors import LoadTestError, UsageError
from loadtest.interrupts import held
from loadtest.servers.certificates import Certificate, make_certificate
from loadtest.servers.kinds import ROOT, STORING, WSGI, Launch, Server, find_server
from loadtest.servers.nginx import nginx_command
from loadtest.servers.processes import ServerProcess, claim_port, get_status
from loadtest.settings import Settings

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Running:
    """A server that answers; `processes` is empty for one that is not ours."""

    address: Address
    processes: tuple[ServerProcess, ...]


@dataclass(frozen=True)
class Job:
    """What the servers do, where a scenario has an application of its own for them.

    application: of those that `others` does not name.
    others: by the servers' names.
    environment: what they need to know, besides what this process has.
    """

    application: str
    others: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


class Deployer:
    """Starts what `settings` ask for, with logs and configurations in `scratch`.

    job: None for what all scenarios have in common.
    """

    def __init__(self, settings: Settings, scratch: Path, job: Job | None = None) -> None:
        self._settings = settings
        self._scratch = scratch
        self._job = job or Job(STORING if settings.store else WSGI)
        if settings.http2 and importlib.util.find_spec("h2") is None:
            raise UsageError("--http2 needs the Python package h2: pip install h2.")
        self._remote: dict[str, Address] = {}
        self._servers: dict[str, Server] = {}
        for url in settings.urls:
            address = parse_url(url, insecure=settings.insecure, http2=settings.http2)
            self._remote[address.authority] = address
        if not self._remote:
            self._servers = {
                server.name: server for server in (find_server(spec) for spec in settings.servers)
            }
        if (settings.tls and not settings.behind) or settings.workers > 1:
            for server in self._servers.values():
                if server.is_peer:
                    raise UsageError(
                        f"{server.name} is measured with one process and without TLS of its own: "
                        "leave out --workers, and give it TLS by --behind nginx."
                    )
        self._certificate: Certificate | None = None
        if settings.tls and not self._remote:
            self._certificate = make_certificate(scratch, HOST)

    @property
    def names(self) -> list[str]:
        """Of the servers, in the order in which they were given."""
        return list(self._remote or self._servers)

    @contextmanager
    def running(self, name: str) -> Iterator[Running]:
        """The server called `name`, ready. Raises LoadTestError with its log if it is not."""
        if name in self._remote:
            check_answers(self._remote[name], self._settings.ping_path)
            yield Running(self._remote[name], ())
            return
        with ExitStack() as stack:
            yield self._start(self._servers[name], stack)

    def _start(self, server: Server, stack: ExitStack) -> Running:
        proxy, certificate = self._settings.behind, self._certificate
        port = claim_port(HOST, self._settings.port)
        behind = claim_port(HOST, 0) if proxy else port
        launch = Launch(
            HOST,
            behind,
            self._settings.workers,
            None if proxy else certificate,
            http2=self._settings.http2 and not proxy,
            application=self._job.others.get(server.name, self._job.application),
        )
        tls = certificate is not None
        address = Address(
            HOST,
            port,
            HOST,
            tls=tls,
            ca_file=certificate.authority if certificate else None,
            protocol="http2" if self._settings.http2 else "http1",
        )
        backend = address if not proxy else Address(HOST, behind, HOST)
        with held():
            process = stack.enter_context(self._process(server.name, server.command(launch)))
        process.wait_ready(backend, self._settings.ping_path)
        if proxy is None:
            return Running(address, (process,))
        line = nginx_command(
            proxy,
            host=HOST,
            port=port,
            upstream_port=behind,
            directory=self._scratch,
            certificate=certificate,
            http2=self._settings.http2,
        )
        with held():
            front = stack.enter_context(self._process(f"nginx before {server.name}", line))
        front.wait_ready(address, self._settings.ping_path)
        return Running(address, (process, front))

    def _process(self, name: str, line: list[str]) -> ServerProcess:
        log = self._scratch / f"{name.replace(' ', '-')}.log"
        return ServerProcess(
            name, line, log=log, directory=self._scratch, environment=self._environment()
        )

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": path}
        # Of the server that stores: not slowed by the disk, as little as the peers are.
        environment["UPLOAD_ROOT"] = str(self._scratch / "uploads")
        environment["UPLOAD_FSYNC"] = "0"
        environment |= self._job.environment
        if self._settings.loop:
            environment["GEVENT_LOOP"] = self._settings.loop
        return environment


def server_names(settings: Settings) -> list[str]:
    """How the servers are called in the results, in their order; whether they exist is open."""
    if not settings.urls:
        return [spec.partition("=")[0] for spec in settings.servers]
    addresses = [parse_url(url, insecure=settings.insecure) for url in settings.urls]
    return list(dict.fromkeys(address.authority for address in addresses))


def parse_url(url: str, *, insecure: bool = False, http2: bool = False) -> Address:
    """The one host that may be contacted, resolved once. Raises UsageError."""
    parts = urlsplit(url)
    try:
        usual = {"http": 80, "https": 443}[parts.scheme]
        port = parts.port or usual
    except (KeyError, ValueError):
        raise UsageError(f"{url!r} is no URL of the form http://host:port.") from None
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.username:
        raise UsageError(
            f"{url!r} must name a host and a port only; paths go into --upload-path and "
            "--ping-path, credentials into --header."
        )
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise LoadTestError(f"{parts.hostname} is not known: {error.strerror}.") from None
    return Address(
        parts.hostname,
        port,
        str(found[0][4][0]),
        tls=parts.scheme == "https",
        insecure=insecure,
        protocol="http2" if http2 else "http1",
    )


def check_answers(address: Address, path: str) -> None:
    """Raise LoadTestError if GET `path` is not answered with 2xx."""
    try:
        status = get_status(address, path)
    except OSError as error:
        raise LoadTestError(f"{address.authority} cannot be reached: {error}.") from None
    if not 200 <= status < 300:
        raise LoadTestError(
            f"{address.authority} answers GET {path} with status {status}: name a path that is "
            "answered with 200 by --ping-path."
        )
