"""A whole run: each server started for each measurement, and ended after it.

A fresh server each time, so that the memory of one measurement does not hide that of the next.
Whatever happens, the servers are ended and the scratch directory is gone when `run` is left.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest import plan, tax
from loadtest.connection import Address
from loadtest.errors import LoadTestError
from loadtest.measure import Scenario, State, measure
from loadtest.probes import ProbeJob
from loadtest.processes import ServerProcess, claim_port
from loadtest.servers import Launch, Server, find_server
from loadtest.settings import CONNECTIONS, Settings
from loadtest.statistics import Measurement
from loadtest.uploads import UploadJob

HOST = "127.0.0.1"
WARM_UP = 20_000_000  # bytes: code paths, allocator and page cache have been used once


@dataclass(frozen=True)
class Moment:
    """Where a run is: the step of `steps`, what the step is, and its state."""

    number: int
    steps: int
    server: str
    clients: int
    total: int
    state: State | None


Report = Callable[[Moment], None]


@dataclass(frozen=True)
class Results:
    """Everything that was measured."""

    settings: Settings
    total: int
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    address: Address
    process: ServerProcess | None


def run(settings: Settings, report: Report) -> Results:
    """Measure everything. Raises LoadTestError if a fault leaves nothing to measure."""
    settings.validate()
    servers = {spec: find_server(spec) for spec in settings.servers}
    spool = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(prefix="loadtest-") as scratch:
        runner = _Runner(settings, servers, Path(scratch), report)
        free = shutil.disk_usage(spool).free
        total = settings.total or runner.calibrate(free)
        plan.check_disk(total, free, spool)
        return Results(settings, total, tuple(runner.measure_all(total)))


def run_tax(settings: Settings, report: Callable[[int, str, float], None]) -> list[tax.Tax]:
    """Requests per second of each server instead, `settings.tax` pairs of turns."""
    settings.validate()
    with tempfile.TemporaryDirectory(prefix="loadtest-") as scratch, ExitStack() as stack:
        addresses = {}
        for number, spec in enumerate(settings.servers):
            server = find_server(spec)
            directory = Path(scratch, str(number))
            directory.mkdir()
            runner = _Runner(settings, {spec: server}, directory, _nobody)
            addresses[server.name] = stack.enter_context(runner.started(server)).address
        return tax.measure(addresses, settings.ping_path, settings.headers, settings.tax, report)


class _Runner:
    def __init__(self, settings: Settings, servers: dict[str, Server], scratch: Path,
                 report: Report) -> None:  # fmt: skip
        self._settings = settings
        self._servers = servers
        self._scratch = scratch
        self._report = report
        self._steps = plan.make_steps(settings)

    def calibrate(self, free_disk: int) -> int:
        """Find out how much to upload, on the first server."""
        settings = self._settings
        if settings.size:
            return settings.size * max(1, *settings.uploads)
        if not any(settings.uploads):
            return plan.SMALLEST
        step = plan.Step(settings.servers[0], 1)
        amount = min(plan.CALIBRATION, int(free_disk * plan.DISK_SHARE))
        measurement = self._measure(0, step, amount)
        speed = measurement.content_bytes / measurement.seconds
        if not speed:
            raise LoadTestError(
                f"The first upload to {step.server} failed: {measurement.uploads[0].outcome}."
            )
        return plan.choose_total(settings, speed, free_disk)

    def measure_all(self, total: int) -> Iterator[Measurement]:
        for number, step in enumerate(self._steps, 1):
            yield self._measure(number, step, total)

    def _measure(self, number: int, step: plan.Step, total: int) -> Measurement:
        def tell(state: State | None) -> None:
            amount = total if step.clients else 0
            name = self._servers[step.server].name
            self._report(Moment(number, len(self._steps), name, step.clients, amount, state))

        tell(None)
        with self.started(self._servers[step.server]) as running:
            if self._settings.warm_up:
                measure(self._scenario(step.server, running, 1, WARM_UP), running.process, _silent)
            scenario = self._scenario(step.server, running, step.clients, total)
            return measure(scenario, running.process, tell)

    @contextmanager
    def started(self, server: Server) -> Iterator[Running]:
        port = claim_port(HOST, self._settings.port)
        address = Address(HOST, port, HOST)
        process = ServerProcess(
            server.name,
            server.command(Launch(HOST, port, self._settings.workers)),
            log=self._scratch / "server.log",
            directory=self._scratch,
            environment=self._environment(),
        )
        with process:
            process.wait_ready(address, self._settings.ping_path)
            yield Running(address, process)

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if self._settings.loop:
            environment["GEVENT_LOOP"] = self._settings.loop
        return environment

    def _scenario(self, spec: str, running: Running, clients: int, total: int) -> Scenario:
        settings = self._settings
        probe = ProbeJob(
            address=running.address,
            target=settings.ping_path,
            headers=settings.headers,
            rate=settings.rate,
            connections=CONNECTIONS[settings.connections],
            seed=settings.seed,
            drain=settings.drain,
        )
        upload = self._upload_job(running.address, clients, total) if clients else None
        name = self._servers[spec].name
        return Scenario(name, probe, upload, settings.idle_seconds)

    def _upload_job(self, address: Address, clients: int, total: int) -> UploadJob:
        settings = self._settings
        size = plan.make_size(settings, clients, total)
        is_form = settings.body.startswith("form")
        target = settings.upload_path or ("/upload" if is_form else "/raw")
        return UploadJob(
            address=address,
            method="POST" if is_form else "PUT",
            target=f"{target}?sha256=1" if settings.verify_sha256 else target,
            headers=settings.headers,
            field=settings.field,
            kind=settings.body,
            clients=clients,
            requests=size.requests,
            size=size.size,
            speeds=settings.speeds,
            seed=settings.seed,
            verify_sha256=settings.verify_sha256,
            seconds=settings.deadline,
        )


def _nobody(moment: Moment) -> None:
    """Nobody waits for this step."""


def _silent(state: State) -> None:
    """The warm-up is not worth a line."""
