"""The results as text: a Markdown table, notes, and the verdict in one sentence."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from loadtest.statistics import Comparison, Measurement, Row, compare
from loadtest.tax import Tax
from loadtest.units import format_ms, format_seconds, format_size

HEADINGS = (
    "server",
    "uploads",
    "MB/s",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "max",
    "pings",
    "errors",
    "p99/idle",
    "CPU s",
    "MB/CPU s",
    "peak MiB",
    "MiB/upload",
)
WIDTH = 240  # columns: no table is that wide, so none is folded
CONNECTIONS_HEAD = "The two kinds of connections apart (p50 / p99 / max):"
MIB = 1024 * 1024
BUSY = 0.9  # of a core: a client that uses more could not have sent faster
LATE = 0.25  # of the p99 latency: probes later than that measure themselves
FOREIGN = 0.25  # cores used by others: enough to be seen in a p99


def markdown(rows: Sequence[Row]) -> str:
    """The table, to be pasted."""
    return _markdown(HEADINGS, [cells(row) for row in rows])


def _markdown(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    made = Table(*headings, box=box.MARKDOWN)
    for column in made.columns[1:]:
        column.justify = "right"
    for line in lines:
        made.add_row(*line)
    console = Console(width=WIDTH, file=io.StringIO(), highlight=False)
    with console.capture() as capture:
        console.print(made)
    return "\n".join(line.rstrip() for line in capture.get().splitlines() if line.strip())


def summary(rows: Sequence[Row], total: int, notes: Sequence[str]) -> str:
    """All that is printed: what was done, table, notes, verdict."""
    runs = f", medians of {rows[0].runs} runs" if rows[0].runs > 1 else ""
    uploaded = f"{format_size(total)} uploaded in each measurement; " if _uploaded(rows) else ""
    connections = ["", CONNECTIONS_HEAD, *by_connection(rows)] if by_connection(rows) else []
    return "\n".join(
        [
            f"{uploaded}latencies of small requests in ms{runs}",
            "",
            markdown(rows),
            *connections,
            *(["", *(f"Note: {note}" for note in notes)] if notes else []),
            "",
            verdict(rows),
        ]
    )


def _uploaded(rows: Sequence[Row]) -> bool:
    return any(row.clients for row in rows)


def cells(row: Row) -> list[str]:
    latency = row.latency
    return [
        row.server,
        str(row.clients) if row.clients else "idle",
        f"{row.mb_per_s:,.0f}" if row.clients else "-",
        *(
            format_ms(value)
            for value in (latency.p50, latency.p90, latency.p99, latency.p999, latency.max)
        ),
        str(row.requests),
        str(row.errors + row.unanswered + row.failed_uploads),
        _optional(row.over_idle, ".1f"),
        _optional(row.cpu_seconds, ".1f"),
        _optional(row.mb_per_cpu_s, ",.0f"),
        _optional(row.peak_memory and row.peak_memory / MIB, ",.0f"),
        _optional(row.memory_per_upload and row.memory_per_upload / MIB, ".1f"),
    ]


def tax_markdown(found: Sequence[Tax]) -> str:
    """Requests per second, and the ratios to the first server."""
    headings = ("server", "requests/s", "ratio", "lowest", "highest", "client's share of a core")
    return _markdown(
        headings,
        [
            [
                one.server,
                f"{one.per_second:,.0f}",
                *(f"{ratio:.3f}" for ratio in (one.ratio, one.lowest, one.highest)),
                f"{one.client_load:.0%}",
            ]
            for one in found
        ],
    )


def count_uploads(clients: int) -> str:
    return f"{clients or 'no'} upload{'' if clients == 1 else 's'}"


def _optional(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def verdict(rows: Sequence[Row]) -> str:
    """One sentence about the first server and the last."""
    if not all(row.requests for row in rows):
        return "Nothing can be said: the uploads were over before a small request was due."
    comparison = compare(rows)
    if comparison is None:
        loaded = [row for row in rows if row.clients]
        worst = max(loaded or rows, key=lambda row: row.worst)
        beside = (
            f"beside {count_uploads(worst.clients)}"
            if worst.clients
            else "with nothing else to do"
        )
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
        f"{row.server}, {count_uploads(row.clients)}: "
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
        where = f"{run.server} with {count_uploads(run.clients)}"
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
            found.append(f"{where}: other programs used {run.foreign_load:.1f} cores meanwhile.")
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
