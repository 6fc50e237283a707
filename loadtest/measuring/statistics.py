"""What the samples of one measurement say, and what several measurements say together.

Latencies go into HDR histograms, which keep three digits of every value from 1 us to an hour.
Nothing here does I/O.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hdrh.histogram import HdrHistogram

from loadtest.clients.probes import KEEPALIVE, NEW, Probe
from loadtest.clients.uploads import Upload
from loadtest.units import count

HIGHEST = 3600 * 10**6  # microseconds
DIGITS = 3


@dataclass(frozen=True)
class Latency:
    """Of a set of small requests, in seconds. With `count` 0 all are 0."""

    count: int
    p50: float
    p90: float
    p99: float
    p999: float
    max: float


def latency_of(seconds: Iterable[float]) -> Latency:
    histogram = HdrHistogram(1, HIGHEST, DIGITS)
    for value in seconds:
        histogram.record_value(min(HIGHEST, max(1, round(value * 1e6))))

    def percentile(percent: float) -> float:
        return float(histogram.get_value_at_percentile(percent)) / 1e6

    count = int(histogram.get_total_count())
    if not count:
        return Latency(0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return Latency(
        count, percentile(50), percentile(90), percentile(99), percentile(99.9), percentile(100)
    )


@dataclass(frozen=True)
class Cost:
    """What the server's processes used during the window. Memory in bytes, added up over them."""

    cpu_seconds: float
    idle_memory: int
    peak_memory: int


@dataclass(frozen=True)
class Measurement:
    """One run of one scenario on one server. Times in seconds from the scenario's start.

    The window is what counts: from the start of the first upload to the end of the last one, or
    the whole time for the idle server. `cost` is None for a server that we did not start.
    `client_load` is the share of a core that the upload process used, `foreign_load` how many
    cores the rest of the machine did, `late` how late the probe process itself was at p99.
    `clients` are counted in `noun`s; `workers_lost` is how many processes of the server came to
    their end meanwhile. `client_late` is how late the upload process may have seen an answer,
    where that was measured. A scenario that knows more adds it in a subclass.
    """

    server: str
    clients: int
    probes: tuple[Probe, ...]
    uploads: tuple[Upload, ...]
    window: tuple[float, float]
    cost: Cost | None
    client_load: float
    foreign_load: float
    late: float
    noun: str = "upload"
    workers_lost: int = 0
    client_late: float = 0.0

    @property
    def load(self) -> str:
        return count(self.clients, self.noun)

    @property
    def seconds(self) -> float:
        return self.window[1] - self.window[0]

    @property
    def counted(self) -> list[Probe]:
        """The probes that were due within the window."""
        return [probe for probe in self.probes if self.window[0] <= probe.due < self.window[1]]

    @property
    def content_bytes(self) -> int:
        """Bytes of content of the uploads that went well."""
        return sum(upload.content for upload in self.uploads if upload.outcome == "ok")

    def other_faults(self) -> list[str]:
        """Sentences about what else went wrong, which only a scenario knows of."""
        return []

    def other_figures(self) -> dict[str, Any]:
        """What else a scenario knows, for the JSON file."""
        return {}


@dataclass(frozen=True)
class Row:
    """One line of the table: medians over the runs of one scenario on one server."""

    server: str
    clients: int
    runs: int
    mb_per_s: float
    latency: Latency
    by_connection: dict[str, Latency]
    worst: float  # over all runs, in seconds
    requests: int  # counted, in all runs
    errors: int  # in all runs
    unanswered: int  # in all runs
    failed_uploads: int  # in all runs
    over_idle: float | None  # p99 in relation to that of the same server when idle
    cpu_seconds: float | None
    mb_per_cpu_s: float | None
    peak_memory: int | None
    memory_per_upload: float | None
    noun: str = "upload"

    @property
    def load(self) -> str:
        return count(self.clients, self.noun)


def make_rows(measurements: Sequence[Measurement]) -> list[Row]:
    """One row for each server and number of clients, in order of appearance, servers first."""
    servers = list(dict.fromkeys(measurement.server for measurement in measurements))
    rows: list[Row] = []
    for server in servers:
        mine = [measurement for measurement in measurements if measurement.server == server]
        idle = _idle_p99(mine)
        numbers = dict.fromkeys(measurement.clients for measurement in mine)
        rows += [_row([m for m in mine if m.clients == number], idle) for number in numbers]
    return rows


def _idle_p99(measurements: Sequence[Measurement]) -> float | None:
    idle = [m for m in measurements if m.clients == 0]
    return _median([_latency(m).p99 for m in idle]) if idle else None


def _row(runs: Sequence[Measurement], idle_p99: float | None) -> Row:
    latencies = [_latency(run) for run in runs]
    counted = [probe for run in runs for probe in run.counted]
    costs = [run.cost for run in runs if run.cost is not None]
    clients = runs[0].clients
    latency = _median_latency(latencies)
    cpu = _median([cost.cpu_seconds for cost in costs]) if costs else None
    megabytes = _median([run.content_bytes / 1e6 for run in runs])
    return Row(
        server=runs[0].server,
        clients=clients,
        runs=len(runs),
        mb_per_s=_median([run.content_bytes / 1e6 / run.seconds for run in runs]),
        latency=latency,
        by_connection={
            kind: _median_latency([_latency(run, kind) for run in runs])
            for kind in (KEEPALIVE, NEW)
            if any(probe.connection == kind for probe in counted)
        },
        worst=max(latency.max for latency in latencies),
        requests=len(counted),
        errors=sum(probe.outcome not in ("ok", "unanswered") for probe in counted),
        unanswered=sum(probe.outcome == "unanswered" for probe in counted),
        failed_uploads=sum(upload.outcome != "ok" for run in runs for upload in run.uploads),
        over_idle=latency.p99 / idle_p99 if idle_p99 and clients else None,
        cpu_seconds=cpu,
        mb_per_cpu_s=megabytes / cpu if cpu and clients else None,
        peak_memory=round(_median([cost.peak_memory for cost in costs])) if costs else None,
        memory_per_upload=(
            _median([(cost.peak_memory - cost.idle_memory) / clients for cost in costs])
            if costs and clients
            else None
        ),
        noun=runs[0].noun,
    )


def _latency(run: Measurement, connection: str | None = None) -> Latency:
    return latency_of(
        probe.latency for probe in run.counted if connection in (None, probe.connection)
    )


def _median_latency(latencies: Sequence[Latency]) -> Latency:
    return Latency(
        count=sum(latency.count for latency in latencies),
        p50=_median([latency.p50 for latency in latencies]),
        p90=_median([latency.p90 for latency in latencies]),
        p99=_median([latency.p99 for latency in latencies]),
        p999=_median([latency.p999 for latency in latencies]),
        max=_median([latency.max for latency in latencies]),
    )


def _median(values: Sequence[float]) -> float:
    return float(statistics.median(values))


@dataclass(frozen=True)
class Comparison:
    """Two servers under the same uploads: the first one named, and the last."""

    baseline: str
    subject: str
    baseline_worst: float
    subject_worst: float
    ratio: float | None  # of throughput, subject to baseline; median over the numbers of uploads


def compare(rows: Sequence[Row]) -> Comparison | None:
    """The first server against the last, or None if there is only one or nothing was uploaded."""
    baseline, subject = rows[0].server, rows[-1].server
    before = {row.clients: row for row in rows if row.server == baseline and row.clients}
    after = {row.clients: row for row in rows if row.server == subject and row.clients}
    both = [clients for clients in before if clients in after]
    if baseline == subject or not both:
        return None
    ratios = [
        after[clients].mb_per_s / before[clients].mb_per_s
        for clients in both
        if before[clients].mb_per_s
    ]
    return Comparison(
        baseline=baseline,
        subject=subject,
        baseline_worst=max(before[clients].worst for clients in both),
        subject_worst=max(after[clients].worst for clients in both),
        ratio=_median(ratios) if ratios else None,
    )
