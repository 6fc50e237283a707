"""Stalled clients: what they take from the speed of one upload beside them.

The upload is measured without and with them in turn, on the same server; the ratio is taken within
each pair, and the result is the median of the ratios.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.console import Console

from loadtest.clients import pace, uploads
from loadtest.clients.connection import Address
from loadtest.clients.uploads import STOPPED, Upload, UploadJob
from loadtest.measuring import holding, jobs, measure, plan
from loadtest.measuring.kept import StalledRow, make_stalled_rows
from loadtest.measuring.measure import Load, State, Trial
from loadtest.measuring.session import (
    Moment,
    Report,
    Results,
    deploying,
    descriptor_limit,
    free_disk,
    silent,
)
from loadtest.measuring.statistics import Measurement
from loadtest.options import how_many, value
from loadtest.reports.as_text import (
    by_connection,
    failures,
    faults,
    notes,
    of_runs,
    optional,
    worst_of,
)
from loadtest.reports.findings import Findings, Grid
from loadtest.reports.metrics import Metric
from loadtest.reports.progress import Display
from loadtest.scenarios.contract import Scenario
from loadtest.servers.deployments import Running
from loadtest.settings import MAX_CLIENTS, Settings
from loadtest.units import count, format_ms, format_size, parse_size

NOUN = "stalled client"
SCENE = (
    "One fast upload was measured without and with stalled clients that hold their connections, "
    "beside small requests at a steady rate. What counts is how much of its speed it keeps."
)
KEPT = ("server", "stalled", "speed kept", "lowest", "highest", "CPU time", "pairs")
HEADINGS = ("server", "stalled", "MB/s", "p50", "p90", "p99", "p99.9", "max", "pings", "errors",
            "CPU s")  # fmt: skip


@dataclass(frozen=True)
class StalledSettings(Settings):
    """Of a run with stalled clients. `size` is theirs, `total` that of the upload beside them."""

    # Clients that stall at once.
    stalled: int = 500
    # Bytes that each of them has sent: more than a server reads at once, less than it spools.
    held: int = 200_000
    size: int | None = 100_000_000
    # One upload takes half a second or more, which is long against what its start and its end
    # cost; many short pairs say more on a machine that is shared than few long ones.
    total: int | None = 500_000_000
    repeat: int = 7

    @property
    def loads(self) -> tuple[int, ...]:
        return (self.stalled,)

    def own_rules(self) -> Iterable[tuple[object, str]]:
        return (
            (
                self.stalled <= MAX_CLIENTS,
                f"More than {MAX_CLIENTS} clients at once are too many.",
            ),
            (
                self.held < (self.size or 0),
                "A stalled client has something left to send: --held is less than --size.",
            ),
            (not self.http2, "Stalled clients are measured over HTTP/1.1."),
        )


@dataclass(frozen=True, kw_only=True)
class StalledMeasurement(Measurement):
    """`stalled` are the clients that stalled beside the upload.

    `left_open` is how many descriptors of theirs the server kept when they had gone.
    """

    stalled: tuple[Upload, ...] = ()
    left_open: int = 0

    def other_faults(self) -> list[str]:
        found = failures(self.stalled, STOPPED, "stalled clients")
        if self.left_open:
            found.append(
                f"{self.left_open} descriptors of stalled clients were still open after these had "
                "gone."
            )
        return found

    def other_figures(self) -> dict[str, Any]:
        return {
            "stalled": [asdict(upload) for upload in self.stalled],
            "left_open": self.left_open,
        }


def run(settings: StalledSettings, console: Console) -> Findings:
    with Display(console) as display:
        results = measure_all(settings, display.show)
    return findings(results)


def measure_all(settings: StalledSettings, report: Report) -> Results:
    """All pairs on each server."""
    assert settings.total is not None
    with deploying(settings) as deployer:
        plan.check_descriptors(settings.stalled, descriptor_limit())
        free = free_disk(settings)
        if free is not None:
            needed = settings.total + settings.stalled * settings.held
            plan.check_disk(needed, free, tempfile.gettempdir())
        pairs = _Pairs(settings, report, len(deployer.names))
        measurements: list[Measurement] = []
        for server in deployer.names:
            with deployer.running(server) as running:
                measurements += pairs.measure(server, running)
        return Results(settings, settings.total, tuple(measurements))


class _Pairs:
    """One fast upload without and with stalled clients, on one server after the other."""

    def __init__(self, settings: StalledSettings, report: Report, servers: int) -> None:
        self._settings = settings
        self._report = report
        self._number = 0
        self._steps = 2 * settings.repeat * servers

    def measure(self, server: str, running: Running) -> Iterator[Measurement]:
        """All pairs on one server, which is not started again in between."""
        if self._settings.warm_up:
            job = jobs.upload_job(self._settings, running.address, 1, plan.WARM_UP)
            trial = self._trial(plan.Step(server, 0), running, job)
            measure.measure(trial, running.processes, silent)
        for step in make_pairs(self._settings, server):
            self._number += 1
            yield self._measure(step, running)

    def _measure(self, step: plan.Step, running: Running) -> StalledMeasurement:
        settings, processes = self._settings, running.processes
        number, steps = self._number, self._steps
        what = count(step.clients, NOUN)

        def tell(state: State | None) -> None:
            total = settings.total or 0
            self._report(Moment(number, steps, step.server, what, total, state))

        tell(None)
        trial = self._trial(step, running, fast_job(settings, running.address))
        if not step.clients:
            return StalledMeasurement(**vars(measure.measure(trial, processes, tell)))
        job = stalled_job(settings, running.address)
        with holding.clients(job, settings.held, processes) as group:
            found = measure.measure(trial, processes, tell)
        return StalledMeasurement(**vars(found), stalled=group.uploads, left_open=group.left_open)

    def _trial(self, step: plan.Step, running: Running, job: UploadJob) -> Trial:
        probe = jobs.probe_job(self._settings, running.address)
        load = Load("uploads", uploads.run, job)
        idle = self._settings.idle_seconds
        return Trial(step.server, probe, load, idle, step.clients, NOUN)


def make_pairs(settings: StalledSettings, server: str) -> list[plan.Step]:
    """Without and with stalled clients, `repeat` times.

    Every other pair the other way round: what grows in the course of a run must not count against
    one of the two.
    """
    pair = [plan.Step(server, 0), plan.Step(server, settings.stalled)]
    return [step for i in range(settings.repeat) for step in (pair if i % 2 == 0 else pair[::-1])]


def fast_job(settings: StalledSettings, address: Address) -> UploadJob:
    """The one upload beside them."""
    assert settings.total is not None
    return jobs.upload_job(replace(settings, size=None), address, 1, settings.total)


def stalled_job(settings: StalledSettings, address: Address) -> UploadJob:
    """They stay for as long as they are not told to go."""
    assert settings.size is not None
    return replace(
        jobs.upload_job(settings, address, 1, settings.size),
        clients=settings.stalled,
        speeds=(pace.hold(settings.held),),
        verify_sha256=False,
        seconds=settings.deadline * 2,
    )


def findings(results: Results) -> Findings:
    """Of stalled clients."""
    rows = make_stalled_rows(results.measurements)
    settings = results.settings
    assert isinstance(settings, StalledSettings)
    held = f"stalled clients that have sent {format_size(settings.held)} each"
    return Findings(
        settings=settings,
        measurements=results.measurements,
        rows=rows,
        scene=SCENE,
        tables=[
            Grid(
                f"share of its speed that an upload of {format_size(results.total)} keeps beside "
                f"{held}, and the server's CPU time in relation to that without; medians of the "
                "pairs",
                KEPT,
                [kept_line(row) for row in rows if row.clients],
            ),
            Grid(
                f"latencies of small requests in ms{of_runs(rows)}",
                HEADINGS,
                [line(row) for row in rows],
            ),
        ],
        apart=by_connection(rows),
        notes=notes(results.measurements),
        faults=[fault for run in results.measurements for fault in faults(run)],
        verdict=verdict(rows),
    )


def kept_line(row: StalledRow) -> list[str]:
    shares = (row.kept, row.lowest, row.highest, row.cpu)
    return [
        row.server,
        f"{row.clients:,}",
        *(optional(share, ".3f") for share in shares),
        f"{row.runs:,}",
    ]


def line(row: StalledRow) -> list[str]:
    latency = row.latency
    percentiles = (latency.p50, latency.p90, latency.p99, latency.p999, latency.max)
    return [
        row.server,
        f"{row.clients:,}" if row.clients else "none",
        f"{row.mb_per_s:,.0f}",
        *map(format_ms, percentiles),
        f"{row.requests:,}",
        f"{row.errors + row.unanswered + row.failed_uploads:,}",
        optional(row.cpu_seconds, ",.1f"),
    ]


def verdict(rows: Sequence[StalledRow]) -> str:
    """One sentence about the servers with their stalled clients."""
    beside = [row for row in rows if row.clients]
    kept = ", ".join(f"{_percent(row.kept)} on {row.server}" for row in beside)
    worst = ", ".join(f"{worst_of(row)} on {row.server}" for row in beside)
    return (
        f"Beside {beside[0].load} an upload keeps of its speed: {kept}; "
        f"worst small request {worst}."
    )


def _percent(share: float | None) -> str:
    return "nothing" if share is None else f"{share:.0%}"


def _kept(row: object, kind: str | None) -> float | None:
    return row.kept if isinstance(row, StalledRow) else None


def _cpu(row: object, kind: str | None) -> float | None:
    return row.cpu if isinstance(row, StalledRow) else None


SCENARIO = Scenario(
    name="stalled",
    settings=StalledSettings,
    run=run,
    switch=how_many(
        "--stalled",
        "clients",
        500,
        "instead: one fast upload without and with that many (500) stalled clients",
    ),
    title="stalled clients",
    options=(
        value("--held", "SIZE", parse_size, "sent by each, of --size, 100MB (default: 200kB)"),
    ),
    notes={"repeat": "of --stalled 7 pairs"},
    meaningless=("uploads", "seconds", "speeds", "idle_seconds"),
    metrics=(Metric("kept", _kept), Metric("cpu", _cpu, of_our_servers=True)),
)
