"""A whole run: each server started for each measurement, and ended after it.

A fresh server each time, so that the memory of one measurement does not hide that of the next.
A scenario that compares pairs on one server starts it for itself.
Whatever happens, the servers are ended and the scratch directory is gone when a run is left.
"""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.clients.connection import Address
from loadtest.measuring import jobs, plan
from loadtest.measuring.measure import Load, State, Trial, measure
from loadtest.measuring.statistics import Measurement
from loadtest.servers.deployments import Deployer, Job
from loadtest.settings import Settings
from loadtest.units import count


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


@dataclass(frozen=True)
class Work:
    """What a server gets in each measurement: what its clients are counted in, and who they are.

    load: for so many clients that send so many bytes of content together.
    warm_up: one client for a server that is to get so many bytes then.
    """

    noun: str
    load: Callable[[Address, int, int], Load]
    warm_up: Callable[[Address, int], Load]


@contextmanager
def deploying(settings: Settings, job: Job | None = None) -> Iterator[Deployer]:
    """Who starts the servers. Raises UsageError for settings that make no sense."""
    settings.validate()
    with tempfile.TemporaryDirectory(prefix="loadtest-") as scratch:
        yield Deployer(settings, Path(scratch), job)


def free_disk(settings: Settings) -> int | None:
    """None for a server elsewhere: it has a disk of its own, of which we know nothing."""
    return None if settings.urls else shutil.disk_usage(tempfile.gettempdir()).free


def descriptor_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


class Session:
    """A fresh server for each measurement."""

    def __init__(self, settings: Settings, deployer: Deployer, report: Report, work: Work) -> None:
        self._settings = settings
        self._deployer = deployer
        self._report = report
        self._work = work
        self.steps = plan.make_steps(settings, deployer.names)

    def measure_all(self, total: int) -> Iterator[Measurement]:
        """All steps in turn. `total` are the bytes of content of each, 0 if it has no number."""
        for number, step in enumerate(self.steps, 1):
            yield self.measure(number, step, total)

    def measure(self, number: int, step: plan.Step, total: int) -> Measurement:
        """One step; `number` 0 is before the first one."""
        work = self._work
        what = count(step.clients, work.noun) if step.clients else "idle"
        amount = total if step.clients else 0

        def tell(state: State | None) -> None:
            self._report(Moment(number, len(self.steps), step.server, what, amount, state))

        tell(None)
        with self._deployer.running(step.server) as running:
            address = running.address
            if self._settings.warm_up:
                warm_up = self._trial(step.server, address, 1, work.warm_up(address, total))
                measure(warm_up, running.processes, silent)
            load = work.load(address, step.clients, total) if step.clients else None
            trial = self._trial(step.server, address, step.clients, load)
            return measure(trial, running.processes, tell)

    def _trial(self, server: str, address: Address, clients: int, load: Load | None) -> Trial:
        probe = jobs.probe_job(self._settings, address)
        return Trial(server, probe, load, self._settings.idle_seconds, clients, self._work.noun)


def silent(state: State) -> None:
    """The warm-up is not worth a line."""
