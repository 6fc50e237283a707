"""The results as text: a Markdown table, notes, and the verdict in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from loadtest.statistics import Comparison, Measurement, Row, compare
from loadtest.tax import Tax
from loadtest.units import format_ms, format_seconds

MIB = 1024 * 1024
BUSY = 0.9  # of a core: a client that uses more could not have sent faster
LATE = 0.25  # of the p99 latency: probes later than that measure themselves
FOREIGN = 0.25  # cores used by others: enough to be seen in a p99


def table(rows: Sequence[Row]) -> Table:
    """Pastes as Markdown."""
    made = Table(box=box.MARKDOWN, show_edge=True)
    made.add_column("server", no_wrap=True)
    for name in ("uploads", "MB/s", "p50", "p90", "p99", "p99.9", "max", "pings", "errors",
                 "p99/idle", "CPU s", "MB/CPU s", "peak MiB", "MiB/upload"):  # fmt: skip
        made.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        made.add_row(*cells(row))
    return made


def cells(row: Row) -> list[str]:
    latency = row.latency
    return [
        row.server,
        str(row.clients) if row.clients else "idle",
        f"{row.mb_per_s:,.0f}" if row.clients else "-",
        *(format_ms(value) for value in (latency.p50, latency.p90, latency.p99, latency.p999,
                                         latency.max)),
        str(row.requests),
        str(row.errors + row.unanswered + row.failed_uploads),
        _optional(row.over_idle, ".1f"),
        _optional(row.cpu_seconds, ".1f"),
        _optional(row.mb_per_cpu_s, ",.0f"),
        _optional(row.peak_memory and row.peak_memory / MIB, ",.0f"),
        _optional(row.memory_per_upload and row.memory_per_upload / MIB, ".1f"),
    ]  # fmt: skip


def tax_table(found: Sequence[Tax]) -> Table:
    """Requests per second, and the ratios to the first server."""
    made = Table(box=box.MARKDOWN)
    made.add_column("server", no_wrap=True)
    for name in ("requests/s", "ratio", "lowest", "highest", "client's share of a core"):
        made.add_column(name, justify="right", no_wrap=True)
    for one in found:
        made.add_row(
            one.server,
            f"{one.per_second:,.0f}",
            *(f"{ratio:.3f}" for ratio in (one.ratio, one.lowest, one.highest)),
            f"{one.client_load:.0%}",
        )
    return made


def _optional(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def verdict(rows: Sequence[Row]) -> str:
    """One sentence about the first server and the last."""
    comparison = compare(rows)
    if comparison is None:
        worst = max((row for row in rows), key=lambda row: row.worst)
        beside = f"beside {worst.clients} uploads" if worst.clients else "with nothing else to do"
        return f"Worst request {format_seconds(worst.worst)} on {worst.server}, {beside}."
    return (
        f"Worst request {format_seconds(comparison.baseline_worst)} on {comparison.baseline}, "
        f"{format_seconds(comparison.subject_worst)} on {comparison.subject}{_speed(comparison)}."
    )


def _speed(comparison: Comparison) -> str:
    if comparison.ratio is None:
        return ""
    return f"; uploads {comparison.ratio:.1f} times as fast"


def by_connection(rows: Sequence[Row]) -> list[str]:
    """p50 / p99 / max apart for the two kinds of connections, where both were used."""
    return [
        f"{row.server}, {row.clients or 'no'} uploads: "
        + "; ".join(
            f"{kind} {format_ms(latency.p50)} / {format_ms(latency.p99)} / "
            f"{format_ms(latency.max)}"
            for kind, latency in row.by_connection.items()
        )
        for row in rows
        if len(row.by_connection) > 1
    ]


def notes(measurements: Sequence[Measurement]) -> list[str]:
    """What a reader must know before believing the figures."""
    found = []
    for run in measurements:
        where = f"{run.server} with {run.clients} uploads"
        if run.client_load > BUSY:
            found.append(
                f"{where}: the upload client was the bottleneck ({run.client_load:.0%} of a "
                "core); the server could have been faster."
            )
        worst = max((probe.latency for probe in run.counted), default=0.0)
        if worst and run.late > max(LATE * worst, 0.001):
            found.append(
                f"{where}: the probes themselves were {format_seconds(run.late)} late (p99), for "
                "want of a free core; latencies are that much too high."
            )
        if run.foreign_load > FOREIGN:
            found.append(
                f"{where}: other programs used {run.foreign_load:.1f} cores meanwhile."
            )
        found += [f"{where}: {sentence}" for sentence in faults(run)]
    return found


def faults(run: Measurement) -> list[str]:
    """What went wrong in one measurement, one sentence for each kind."""
    sentences = []
    failed = [upload for upload in run.uploads if upload.outcome != "ok"]
    for outcome in dict.fromkeys(upload.outcome for upload in failed):
        same = [upload for upload in failed if upload.outcome == outcome]
        sentences.append(
            f"{len(same)} of {len(run.uploads)} uploads: {outcome}, after {same[0].sent:,} of "
            f"{same[0].length:,} bytes."
        )
    bad = [probe for probe in run.probes if probe.outcome != "ok"]
    for outcome in dict.fromkeys(probe.outcome for probe in bad):
        count = sum(probe.outcome == outcome for probe in bad)
        sentences.append(f"{count} of {len(run.probes)} small requests: {outcome}.")
    return sentences
