"""The results of refused clients as tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.clients.refused import Refusal
from loadtest.measuring.fates import (
    ALL,
    LOOKING,
    Fates,
    RefusalRow,
    fates_by_kind,
    make_refusal_rows,
)
from loadtest.measuring.session import Results
from loadtest.measuring.statistics import Measurement
from loadtest.reports.as_text import LATE, MIB, by_connection, notes, of_runs, optional, worst_of
from loadtest.reports.findings import Findings, Grid
from loadtest.units import format_ms, format_seconds

SCENE = (
    "Clients announced large bodies to a view that refuses them unread, and small requests were "
    "sent at a steady rate meanwhile. What counts is how soon the clients knew, and how long the "
    "small requests had to wait."
)
CLIENTS = ("server", "clients", "number", "refused", "wrong", "cut", "none", "p50", "p99", "max",
           "MB before", "MB median", "MB max", "MB in all")  # fmt: skip
CLIENTS_CAPTION = (
    "refused clients; from the last byte of the headers to the status in ms; MB of body sent "
    "before the status (median), and by each and all clients"
)
PROBES = ("server", "refusals", "p50", "p90", "p99", "p99.9", "max", "pings", "errors", "p99/idle",
          "CPU s", "peak MiB", "workers lost")  # fmt: skip


def findings(results: Results) -> Findings:
    """Of refusals. What became of clients and small requests is a result here, and no fault."""
    rows = make_refusal_rows(results.measurements)
    return Findings(
        settings=results.settings,
        measurements=results.measurements,
        rows=rows,
        scene=SCENE,
        tables=[
            Grid(CLIENTS_CAPTION, CLIENTS, [line for row in rows for line in client_lines(row)]),
            Grid(
                f"latencies of small requests in ms{of_runs(rows)}",
                PROBES,
                [probe_line(row) for row in rows],
            ),
        ],
        apart=by_connection(rows),
        notes=[*late_clients(results.measurements), *notes(results.measurements)],
        faults=(),
        verdict=verdict(rows),
    )


def client_lines(row: RefusalRow) -> list[list[str]]:
    """One for each kind of client, and for all if there are several."""
    kinds = {kind: fates for kind, fates in row.fates.items() if kind != LOOKING}
    if len(kinds) == 2:  # one kind, and all of that kind
        del kinds[ALL]
    return [[row.server, kind, *_client_cells(fates)] for kind, fates in kinds.items()]


def _client_cells(fates: Fates) -> list[str]:
    waited = (fates.waited.p50, fates.waited.p99, fates.waited.max)
    before = None if fates.sent_before is None else fates.sent_before / 1e6
    sent = (fates.sent_median, fates.sent_max, fates.sent)
    return [
        *map(
            "{:,}".format, (fates.clients, fates.refused, fates.wrong, fates.cut, fates.unanswered)
        ),
        *(format_ms(value) if fates.waited.count else "-" for value in waited),
        optional(before, ",.1f"),
        *(f"{value / 1e6:,.1f}" for value in sent),
    ]


def probe_line(row: RefusalRow) -> list[str]:
    latency = row.latency
    percentiles = (latency.p50, latency.p90, latency.p99, latency.p999, latency.max)
    return [
        row.server,
        f"{row.clients:,}" if row.clients else "idle",
        *map(format_ms, percentiles),
        f"{row.requests:,}",
        f"{row.errors + row.unanswered:,}",
        optional(row.over_idle, ",.1f"),
        optional(row.cpu_seconds, ",.1f"),
        optional(row.peak_memory and row.peak_memory / MIB, ",.0f"),
        optional(row.workers_lost, ",d"),
    ]


def late_clients(measurements: Sequence[Measurement]) -> list[str]:
    """What a reader must know about the clients' times."""
    found = []
    for run in measurements:
        refusals = [each for each in run.uploads if isinstance(each, Refusal)]
        looking = fates_by_kind(refusals).get(LOOKING)
        if looking and looking.waited.count and run.client_late > LATE * looking.waited.max:
            found.append(
                f"{run.server} with {run.load}: the clients themselves looked up to "
                f"{format_seconds(run.client_late)} late, for want of a free core; their times to "
                "the status are up to that much too high."
            )
    return found


def verdict(rows: Sequence[RefusalRow]) -> str:
    """One sentence about the servers with their refused clients."""
    loaded = [row for row in rows if row.fates]
    longest = _on([(_longest(row), row) for row in loaded])
    without = _on(
        [(f"{row.fates[ALL].clients - row.fates[ALL].refused:,}", row) for row in loaded]
    )
    worst = _on([(worst_of(row), row) for row in loaded])
    return (
        f"Longest wait for a refusal {longest}; clients without one: {without}; "
        f"worst small request {worst}."
    )


def _longest(row: RefusalRow) -> str:
    waited = row.fates.get(LOOKING, row.fates[ALL]).waited
    return format_seconds(waited.max) if waited.count else "all cut"


def _on(values: Sequence[tuple[str, RefusalRow]]) -> str:
    return ", ".join(f"{value} on {row.server}" for value, row in values)
