"""The results as text: Markdown tables, notes, and the verdict in one sentence."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from loadtest.clients.uploads import Upload
from loadtest.measuring.session import Results
from loadtest.measuring.statistics import Comparison, Measurement, Row, compare, make_rows
from loadtest.reports.findings import Findings, Grid
from loadtest.units import count, format_ms, format_seconds, format_size

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
SCENE = (
    "Small requests were sent at a steady rate while large files were being uploaded to the same "
    "server. What counts is how long they had to wait."
)
CONNECTIONS_HEAD = "The two kinds of connections apart (p50 / p99 / max):"
MIB = 1024 * 1024
BUSY = 0.9  # of a core: a client that uses more could not have sent faster
LATE = 0.25  # of the p99 latency: probes later than that measure themselves
FOREIGN = 0.25  # cores used by others: enough to be seen in a p99


def render(found: Findings) -> str:
    """All that is printed: what was done, tables, notes, verdict."""
    sections = [
        *(part for grid in found.tables for part in (grid.caption, render_grid(grid)) if part),
        *(["\n".join([CONNECTIONS_HEAD, *found.apart])] if found.apart else []),
        *(["\n".join(f"Note: {note}" for note in found.notes)] if found.notes else []),
        *([found.verdict] if found.verdict else []),
    ]
    return "\n\n".join(sections)


def render_grid(grid: Grid) -> str:
    """The table, to be pasted."""
    made = Table(*grid.headings, box=box.MARKDOWN)
    for column in made.columns[1:]:
        column.justify = "right"
    for line in grid.lines:
        made.add_row(*line)
    console = Console(width=WIDTH, file=io.StringIO(), highlight=False)
    with console.capture() as capture:
        console.print(made)
    return "\n".join(line.rstrip() for line in capture.get().splitlines() if line.strip())


def findings(results: Results) -> Findings:
    """Of uploads."""
    rows = make_rows(results.measurements)
    return Findings(
        settings=results.settings,
        measurements=results.measurements,
        rows=rows,
        scene=SCENE,
        tables=[_table(rows, results.total)],
        apart=by_connection(rows),
        notes=notes(results.measurements),
        faults=[fault for run in results.measurements for fault in faults(run)],
        verdict=verdict(rows),
        by_number=True,
    )


def _table(rows: Sequence[Row], total: int) -> Grid:
    uploaded = f"{format_size(total)} uploaded in each measurement; " if _uploaded(rows) else ""
    caption = f"{uploaded}latencies of small requests in ms{of_runs(rows)}"
    return Grid(caption, HEADINGS, [cells(row) for row in rows])


def of_runs(rows: Sequence[Row]) -> str:
    """What a caption says about repetitions."""
    return f", medians of {rows[0].runs} runs" if rows[0].runs > 1 else ""


def _uploaded(rows: Sequence[Row]) -> bool:
    return any(row.clients for row in rows)


def cells(row: Row) -> list[str]:
    latency = row.latency
    return [
        row.server,
        f"{row.clients:,}" if row.clients else "idle",
        f"{row.mb_per_s:,.0f}" if row.clients else "-",
        *(
            format_ms(value)
            for value in (latency.p50, latency.p90, latency.p99, latency.p999, latency.max)
        ),
        f"{row.requests:,}",
        f"{row.errors + row.unanswered + row.failed_uploads:,}",
        optional(row.over_idle, ",.1f"),
        optional(row.cpu_seconds, ",.1f"),
        optional(row.mb_per_cpu_s, ",.0f"),
        optional(row.peak_memory and row.peak_memory / MIB, ",.0f"),
        optional(row.memory_per_upload and row.memory_per_upload / MIB, ",.1f"),
    ]


def optional(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def verdict(rows: Sequence[Row]) -> str:
    """One sentence about the first server and the last."""
    if not all(row.requests for row in rows):
        return "Nothing can be said: the uploads were over before a small request was due."
    comparison = compare(rows)
    if comparison is None:
        loaded = [row for row in rows if row.clients]
        worst = max(loaded or rows, key=lambda row: row.worst)
        beside = f"beside {worst.load}" if worst.clients else "with nothing else to do"
        return f"Worst request {format_seconds(worst.worst)} on {worst.server}, {beside}."
    return (
        f"Worst request {format_seconds(comparison.baseline_worst)} on {comparison.baseline}, "
        f"{format_seconds(comparison.subject_worst)} on {comparison.subject}{_speed(comparison)}."
    )


def worst_of(row: Row) -> str:
    """The longest wait, for a sentence."""
    return format_seconds(row.worst) if row.requests else "unknown (none was due)"


def _speed(comparison: Comparison) -> str:
    """Which of the two took uploads faster: neither has to be the one named first."""
    if not comparison.ratio:
        return ""
    if comparison.ratio < 1:
        return f"; uploads {1 / comparison.ratio:.1f} times as fast on {comparison.baseline}"
    return f"; uploads {comparison.ratio:.1f} times as fast on {comparison.subject}"


def by_connection(rows: Sequence[Row]) -> list[str]:
    """p50 / p99 / max apart for the two kinds of connections, where both were used."""
    return [
        f"{row.server}, {row.load}: "
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
    alike: dict[str, list[Measurement]] = {}
    for run in measurements:
        alike.setdefault(f"{run.server} with {run.load}", []).append(run)
    return [f"{where}: {note}" for where, runs in alike.items() for note in _notes(runs)]


def _notes(runs: Sequence[Measurement]) -> list[str]:
    """Of runs of the same: the worst of each kind, and all faults."""
    found = []
    load = max(run.client_load for run in runs)
    if load > BUSY:
        found.append(
            f"the upload client was the bottleneck ({load:.0%} of a core); the server could have "
            "been faster."
        )
    late = max((run.late for run in runs if _is_late(run)), default=0.0)
    if late:
        found.append(
            f"the probes themselves were {format_seconds(late)} late (p99), for want of a free "
            "core; latencies are that much too high."
        )
    foreign = max(run.foreign_load for run in runs)
    if foreign > FOREIGN:
        found.append(f"other programs used {foreign:.1f} cores meanwhile.")
    found += dict.fromkeys(sentence for run in runs for sentence in faults(run))
    lost = sum(run.workers_lost for run in runs)
    if lost:
        found.append(f"the server lost {count(lost, 'worker')}.")
    return found


def _is_late(run: Measurement) -> bool:
    worst = max((probe.latency for probe in run.counted), default=0.0)
    return bool(worst) and run.late > max(LATE * worst, 0.001)


def faults(run: Measurement) -> list[str]:
    """What went wrong in one measurement, one sentence for each kind."""
    sentences = [*failures(run.uploads, "ok", "uploads"), *run.other_faults()]
    bad = [probe for probe in run.probes if probe.outcome != "ok"]
    for outcome in dict.fromkeys(probe.outcome for probe in bad):
        number = sum(probe.outcome == outcome for probe in bad)
        sentences.append(f"{number:,} of {len(run.probes):,} small requests: {outcome}.")
    return sentences


def failures(uploads: Sequence[Upload], good: str, noun: str) -> list[str]:
    """One sentence for each outcome that is not `good`."""
    sentences = []
    failed = [upload for upload in uploads if upload.outcome != good]
    for outcome in dict.fromkeys(upload.outcome for upload in failed):
        same = [upload for upload in failed if upload.outcome == outcome]
        sentences.append(
            f"{len(same):,} of {len(uploads):,} {noun}: {outcome}, after {same[0].sent:,} of "
            f"{same[0].length:,} bytes."
        )
    return sentences
