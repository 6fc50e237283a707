"""The results of stalled clients as tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.measuring.session import Results
from loadtest.measuring.stalled import StalledRow, make_stalled_rows
from loadtest.reports.as_text import by_connection, faults, notes, of_runs, optional, worst_of
from loadtest.reports.findings import Findings, Grid
from loadtest.units import format_ms, format_size

SCENE = (
    "One fast upload was measured without and with stalled clients that hold their connections, "
    "beside small requests at a steady rate. What counts is how much of its speed it keeps."
)
KEPT = ("server", "stalled", "speed kept", "lowest", "highest", "CPU time", "pairs")
HEADINGS = ("server", "stalled", "MB/s", "p50", "p90", "p99", "p99.9", "max", "pings", "errors",
            "CPU s")  # fmt: skip


def findings(results: Results) -> Findings:
    """Of stalled clients."""
    rows = make_stalled_rows(results.measurements)
    settings = results.settings
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
