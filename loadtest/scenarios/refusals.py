"""Refused clients: large bodies that are refused unread, instead of uploads.

What counts is how soon the clients know, and how long the small requests beside them wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from rich.console import Console

from loadtest.clients import refused
from loadtest.clients.connection import Address
from loadtest.clients.refused import KINDS, Refusal, RefusedJob
from loadtest.measuring import plan
from loadtest.measuring.fates import (
    ALL,
    LOOKING,
    Fates,
    RefusalRow,
    fates_by_kind,
    make_refusal_rows,
)
from loadtest.measuring.measure import Load
from loadtest.measuring.session import (
    Report,
    Results,
    Session,
    Work,
    deploying,
    descriptor_limit,
)
from loadtest.measuring.statistics import Measurement
from loadtest.options import Option, how_many, several, value
from loadtest.reports.as_text import LATE, MIB, by_connection, notes, of_runs, optional, worst_of
from loadtest.reports.findings import Findings, Grid
from loadtest.reports.metrics import Metric
from loadtest.reports.progress import Display
from loadtest.scenarios.contract import Scenario
from loadtest.settings import MAX_CLIENTS, Settings
from loadtest.units import format_ms, format_seconds, parse_size

WARM_UP = 64 * 1024  # bytes, which any server takes: as much as one read
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


@dataclass(frozen=True)
class RefusalSettings(Settings):
    """Of a run with refused clients."""

    # Clients at once, and their kinds, in turn.
    refusals: int = 100
    kinds: tuple[str, ...] = KINDS
    # Bytes of content of a client that sends everything before it looks for an answer: a server
    # can wait for that much before it closes the connection, and can't for 2 GiB.
    send_all_size: int = 8 * 1024**2
    # Of the refusal.
    status: int = 401
    # So much that no server can take all of it instead of refusing it. On a server that tries to,
    # a worker is killed after 30 s; the rest is to see what becomes of its clients.
    size: int | None = 2 * 1024**3
    deadline: float = 45.0

    @property
    def loads(self) -> tuple[int, ...]:
        return (self.refusals,)

    @property
    def client_kinds(self) -> tuple[str, ...]:
        return self.kinds

    def own_rules(self) -> Iterable[tuple[object, str]]:
        return (
            (
                self.refusals <= MAX_CLIENTS,
                f"More than {MAX_CLIENTS} clients at once are too many.",
            ),
            (
                self.kinds and set(self.kinds) <= set(KINDS),
                f"The kinds of refused clients are {', '.join(KINDS)}.",
            ),
            (400 <= self.status <= 599, "The status of a refusal is from 400 to 599."),
            (
                (self.behind != "nginx" and "waitress" not in self.servers) or self.urls,
                "nginx and waitress store a body before the application can refuse it; "
                "--behind nginx-unbuffered does not.",
            ),
            (not self.http2, "Refused clients are measured over HTTP/1.1."),
        )


def run(settings: RefusalSettings, console: Console) -> Findings:
    with Display(console) as display:
        results = measure(settings, display.show)
    return findings(results)


def measure(settings: RefusalSettings, report: Report) -> Results:
    """The idle servers, and each with its refused clients."""
    with deploying(settings) as deployer:
        plan.check_descriptors(settings.refusals, descriptor_limit())
        session = Session(settings, deployer, report, work(settings))
        return Results(settings, 0, tuple(session.measure_all(0)))


def work(settings: RefusalSettings) -> Work:
    def load(address: Address, clients: int, total: int) -> Load:
        return Load("is refused", refused.run, refused_job(settings, address))

    def warm_up(address: Address, total: int) -> Load:
        """One refusal that no server has trouble with."""
        job = refused_job(settings, address)
        one = replace(job, clients=1, kinds=(refused.SEND_ALL,), send_all_size=WARM_UP)
        return Load("is refused", refused.run, one)

    return Work("refusal", load, warm_up)


def refused_job(settings: RefusalSettings, address: Address) -> RefusedJob:
    assert settings.size is not None
    return RefusedJob(
        address=address,
        target=settings.upload_path or "/refuse",
        headers=settings.headers,
        field=settings.field,
        body=settings.body,
        clients=settings.refusals,
        kinds=settings.kinds,
        size=settings.size,
        send_all_size=settings.send_all_size,
        status=settings.status,
        seed=settings.seed,
        seconds=settings.deadline,
    )


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


def _waited(name: str, of: Callable[[Fates], float]) -> Metric:
    """Without a kind, about those that look for the status while they send."""

    def figure(row: object, kind: str | None) -> float | None:
        fates = _fates(row, kind or LOOKING)
        return of(fates) if fates and fates.waited.count else None

    return Metric(name, figure, is_duration=True, kinds=KINDS)


def _counted(name: str, of: Callable[[Fates], float]) -> Metric:
    """Without a kind, about all clients."""

    def figure(row: object, kind: str | None) -> float | None:
        fates = _fates(row, kind or ALL)
        return of(fates) if fates else None

    return Metric(name, figure, kinds=KINDS)


def _fates(row: object, kind: str) -> Fates | None:
    return row.fates.get(kind) if isinstance(row, RefusalRow) else None


def _lost(row: object, kind: str | None) -> float | None:
    return row.workers_lost if isinstance(row, RefusalRow) else None


SCENARIO = Scenario(
    name="refusals",
    settings=RefusalSettings,
    run=run,
    switch=how_many(
        "--refusals",
        "clients",
        100,
        "instead: that many clients (100) with large bodies that are refused unread",
    ),
    title="refused clients",
    options=(
        several("--kinds", str, f"of the clients in turn (default: {','.join(KINDS)})"),
        value(
            "--send-all-size",
            "SIZE",
            parse_size,
            "content of one request of send-all (default: 8MiB; of the others: --size, 2GiB)",
        ),
        Option("--status", "of the refusal (default: 401)", {"type": int}),
    ),
    notes={"deadline": "of refusals 45s", "upload_path": "for --refusals /refuse"},
    meaningless=("uploads", "seconds", "speeds", "total", "verify_sha256"),
    metrics=(
        Metric("lost", _lost, of_our_servers=True),
        _waited("status_p50", lambda fates: fates.waited.p50),
        _waited("status_p99", lambda fates: fates.waited.p99),
        _waited("status_max", lambda fates: fates.waited.max),
        _counted("refused", lambda fates: fates.refused),
        _counted("wrong", lambda fates: fates.wrong),
        _counted("cut", lambda fates: fates.cut),
        _counted("unanswered", lambda fates: fates.unanswered),
        _counted("MB/client", lambda fates: fates.sent_max / 1e6),
    ),
    has_speed=False,
)
