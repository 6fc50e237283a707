"""A whole run: each server started for each measurement, and ended after it.

A fresh server each time, so that the memory of one measurement does not hide that of the next.
Whatever happens, the servers are ended and the scratch directory is gone when a run is left.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest import plan, tax
from loadtest.connection import Address
from loadtest.deployments import Deployer, Running
from loadtest.errors import LoadTestError
from loadtest.measure import Scenario, State, measure
from loadtest.probes import ProbeJob
from loadtest.settings import CONNECTIONS, Settings
from loadtest.statistics import Measurement
from loadtest.uploads import UploadJob

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


def run(settings: Settings, report: Report) -> Results:
    """Measure everything. Raises LoadTestError if a fault leaves nothing to measure."""
    with _deployer(settings) as deployer:
        session = _Session(settings, deployer, report)
        directory = tempfile.gettempdir()
        # A server elsewhere has a disk of its own, of which we know nothing.
        free = None if settings.urls else shutil.disk_usage(directory).free
        total = settings.total or session.choose_total(free)
        if free is not None:
            plan.check_disk(total, free, directory)
        return Results(settings, total, tuple(session.measure_all(total)))


def run_tax(settings: Settings, report: Callable[[int, str, float], None]) -> list[tax.Tax]:
    """Requests per second of each server instead, `settings.tax` pairs of turns."""
    with _deployer(settings) as deployer, ExitStack() as stack:
        addresses: dict[str, Address] = {
            name: stack.enter_context(deployer.running(name)).address for name in deployer.names
        }
        return tax.measure(addresses, settings.ping_path, settings.headers, settings.tax, report)


@contextmanager
def _deployer(settings: Settings) -> Iterator[Deployer]:
    settings.validate()
    with tempfile.TemporaryDirectory(prefix="loadtest-") as scratch:
        yield Deployer(settings, Path(scratch))


class _Session:
    def __init__(self, settings: Settings, deployer: Deployer, report: Report) -> None:
        self._settings = settings
        self._deployer = deployer
        self._report = report
        self._steps = plan.make_steps(settings, deployer.names)

    def choose_total(self, free_disk: int | None) -> int:
        """How much to upload: found out on the first server, unless the settings say it."""
        settings = self._settings
        if settings.size:
            return settings.size * max(1, *settings.uploads)
        if not any(settings.uploads):
            return plan.SMALLEST
        step = plan.Step(self._deployer.names[0], 1)
        measurement = self._measure(0, step, plan.CALIBRATION)
        if not measurement.content_bytes:
            raise LoadTestError(
                f"The first upload to {step.server} failed: {measurement.uploads[0].outcome}."
            )
        speed = measurement.content_bytes / measurement.seconds
        return plan.choose_total(settings, self._steps, speed, free_disk)

    def measure_all(self, total: int) -> Iterator[Measurement]:
        for number, step in enumerate(self._steps, 1):
            yield self._measure(number, step, total)

    def _measure(self, number: int, step: plan.Step, total: int) -> Measurement:
        def tell(state: State | None) -> None:
            amount = total if step.clients else 0
            steps = len(self._steps)
            self._report(Moment(number, steps, step.server, step.clients, amount, state))

        tell(None)
        with self._deployer.running(step.server) as running:
            if self._settings.warm_up:
                warm_up = self._scenario(step.server, running, 1, min(WARM_UP, total))
                measure(warm_up, running.processes, _silent)
            scenario = self._scenario(step.server, running, step.clients, total)
            return measure(scenario, running.processes, tell)

    def _scenario(self, server: str, running: Running, clients: int, total: int) -> Scenario:
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
        return Scenario(server, probe, upload, settings.idle_seconds)

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


def _silent(state: State) -> None:
    """The warm-up is not worth a line."""
