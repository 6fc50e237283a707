"""A whole run: each server started for each measurement, and ended after it.

A fresh server each time, so that the memory of one measurement does not hide that of the next.
Pairs that are compared with each other (stalled clients, the tax) have one server.
Whatever happens, the servers are ended and the scratch directory is gone when a run is left.
"""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.clients.connection import Address
from loadtest.clients.refused import RefusedJob
from loadtest.clients.uploads import UploadJob
from loadtest.errors import LoadTestError
from loadtest.measuring import jobs, plan, stalled, tax
from loadtest.measuring.measure import Scenario, State, measure
from loadtest.measuring.statistics import Measurement
from loadtest.servers.deployments import Deployer, Running
from loadtest.settings import Settings
from loadtest.units import count

WARM_UP = 20_000_000  # bytes: code paths, allocator and page cache have been used once


@dataclass(frozen=True)
class Moment:
    """Where a run is: the step of `steps`, what the step is, and its state.

    `total` are the bytes of content that are uploaded, 0 where there is no such number.
    """

    number: int
    steps: int
    server: str
    what: str
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
        if settings.scenario == "uploads":
            return _run_uploads(settings, deployer, report)
        plan.check_descriptors(settings.refusals + settings.stalled, _descriptor_limit())
        if settings.scenario == "refusals":
            session = _Session(settings, deployer, report)
            return Results(settings, 0, tuple(session.measure_all(0)))
        return _run_stalled(settings, deployer, report)


def _run_uploads(settings: Settings, deployer: Deployer, report: Report) -> Results:
    session = _Session(settings, deployer, report)
    free = _free_disk(settings)
    total = settings.total or session.choose_total(free)
    if free is not None:
        plan.check_disk(total, free, tempfile.gettempdir())
    return Results(settings, total, tuple(session.measure_all(total)))


def _run_stalled(settings: Settings, deployer: Deployer, report: Report) -> Results:
    assert settings.total is not None
    free = _free_disk(settings)
    if free is not None:
        needed = settings.total + settings.stalled * settings.held
        plan.check_disk(needed, free, tempfile.gettempdir())
    pairs = _Pairs(settings, report, len(deployer.names))
    measurements: list[Measurement] = []
    for server in deployer.names:
        with deployer.running(server) as running:
            measurements += pairs.measure(server, running)
    return Results(settings, settings.total, tuple(measurements))


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


def _free_disk(settings: Settings) -> int | None:
    """None for a server elsewhere: it has a disk of its own, of which we know nothing."""
    return None if settings.urls else shutil.disk_usage(tempfile.gettempdir()).free


def _descriptor_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


class _Session:
    """Uploads or refusals: a fresh server for each measurement."""

    def __init__(self, settings: Settings, deployer: Deployer, report: Report) -> None:
        self._settings = settings
        self._deployer = deployer
        self._report = report
        self._noun = "refusal" if settings.refusals else "upload"
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
        what = count(step.clients, self._noun) if step.clients else "idle"
        amount = total if step.clients else 0

        def tell(state: State | None) -> None:
            self._report(Moment(number, len(self._steps), step.server, what, amount, state))

        tell(None)
        with self._deployer.running(step.server) as running:
            address = running.address
            if self._settings.warm_up:
                warm_up = self._scenario(step.server, address, 1, self._warm_up(address, total))
                measure(warm_up, running.processes, _silent)
            load = self._load(address, step.clients, total) if step.clients else None
            scenario = self._scenario(step.server, address, step.clients, load)
            return measure(scenario, running.processes, tell)

    def _scenario(
        self, server: str, address: Address, clients: int, load: UploadJob | RefusedJob | None
    ) -> Scenario:
        probe = jobs.probe_job(self._settings, address)
        return Scenario(server, probe, load, self._settings.idle_seconds, clients, self._noun)

    def _load(self, address: Address, clients: int, total: int) -> UploadJob | RefusedJob:
        if self._settings.refusals:
            return jobs.refused_job(self._settings, address)
        return jobs.upload_job(self._settings, address, clients, total)

    def _warm_up(self, address: Address, total: int) -> UploadJob | RefusedJob:
        if self._settings.refusals:
            return jobs.refused_warm_up(self._settings, address)
        return jobs.upload_job(self._settings, address, 1, min(WARM_UP, total))


class _Pairs:
    """One fast upload without and with stalled clients, on one server after the other."""

    def __init__(self, settings: Settings, report: Report, servers: int) -> None:
        self._settings = settings
        self._report = report
        self._number = 0
        self._steps = 2 * settings.repeat * servers

    def measure(self, server: str, running: Running) -> Iterator[Measurement]:
        """All pairs on one server, which is not started again in between."""
        if self._settings.warm_up:
            job = jobs.upload_job(self._settings, running.address, 1, WARM_UP)
            measure(self._scenario(plan.Step(server, 0), running, job), running.processes, _silent)
        for step in plan.make_pairs(self._settings, server):
            self._number += 1
            yield self._measure(step, running)

    def _measure(self, step: plan.Step, running: Running) -> Measurement:
        settings, processes = self._settings, running.processes
        number, steps = self._number, self._steps
        what = count(step.clients, stalled.NOUN)

        def tell(state: State | None) -> None:
            total = settings.total or 0
            self._report(Moment(number, steps, step.server, what, total, state))

        tell(None)
        scenario = self._scenario(step, running, jobs.fast_job(settings, running.address))
        if not step.clients:
            return measure(scenario, processes, tell)
        job = jobs.stalled_job(settings, running.address)
        with stalled.clients(job, settings.held, processes) as group:
            found = measure(scenario, processes, tell)
        return group.added_to(found)

    def _scenario(self, step: plan.Step, running: Running, job: UploadJob) -> Scenario:
        probe = jobs.probe_job(self._settings, running.address)
        idle = self._settings.idle_seconds
        return Scenario(step.server, probe, job, idle, step.clients, stalled.NOUN)


def _silent(state: State) -> None:
    """The warm-up is not worth a line."""
