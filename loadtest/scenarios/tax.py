"""What a server costs a request without a body: requests per second, against the first server.

All servers run at once, and one at a time is asked, in turn, for a second; a pair is one turn of
each. The ratio is taken within each pair, so that a machine that grows slower in the course of the
run slows both, and the result is the median of the ratios.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from rich.console import Console

from loadtest.clients import closed_loop, crew
from loadtest.clients.connection import Address
from loadtest.interrupts import held
from loadtest.measuring.session import deploying
from loadtest.options import how_many
from loadtest.reports.findings import Findings, Grid
from loadtest.scenarios.contract import Scenario
from loadtest.settings import Settings

TURN_SECONDS = 1.0
HEADINGS = ("server", "requests/s", "ratio", "lowest", "highest", "client's share of a core")


@dataclass(frozen=True)
class TaxSettings(Settings):
    """Of a run without bodies."""

    # Pairs of turns.
    tax: int = 10

    def own_rules(self) -> Iterable[tuple[object, str]]:
        return (
            (not self.http2, "The cost of a request is measured over HTTP/1.1."),
            (not self.tls, "The cost of a request is measured without TLS."),
        )


@dataclass(frozen=True)
class Tax:
    """One server: requests per second (median), and its ratios to the first server."""

    server: str
    per_second: float
    ratio: float
    lowest: float
    highest: float
    client_load: float


def run(settings: TaxSettings, console: Console) -> Findings:
    def tell(pair: int, server: str, per_second: float) -> None:
        line = f"pair {pair + 1}/{settings.tax} {server}: {per_second:,.0f} requests/s"
        console.print(line, highlight=False)

    with deploying(settings) as deployer, ExitStack() as stack:
        addresses = {
            name: stack.enter_context(deployer.running(name)).address for name in deployer.names
        }
        found = ask(addresses, settings.ping_path, settings.headers, settings.tax, tell)
    return findings(settings, found)


def findings(settings: TaxSettings, found: Sequence[Tax]) -> Findings:
    """Requests per second, and the ratios to the first server."""
    return Findings(
        settings=settings,
        measurements=(),
        rows=(),
        scene="",
        tables=[Grid("", HEADINGS, [_line(one) for one in found])],
        apart=(),
        notes=(),
        faults=(),
        verdict="",
        figures={"tax": [asdict(one) for one in found]},
    )


def _line(one: Tax) -> list[str]:
    return [
        one.server,
        f"{one.per_second:,.0f}",
        *(f"{ratio:.3f}" for ratio in (one.ratio, one.lowest, one.highest)),
        f"{one.client_load:.0%}",
    ]


def ask(
    addresses: dict[str, Address],
    path: str,
    headers: tuple[tuple[str, str], ...],
    pairs: int,
    report: Callable[[int, str, float], None],
) -> list[Tax]:
    """Ask each server of `addresses` (name to address) `pairs` times."""
    found: dict[str, list[closed_loop.LoopResult]] = {name: [] for name in addresses}
    for pair in range(pairs):
        # Every other pair the other way round: whoever follows finds warmer caches.
        order = list(addresses) if pair % 2 == 0 else list(reversed(addresses))
        for name in order:
            job = closed_loop.LoopJob(addresses[name], path, headers, TURN_SECONDS)
            with ExitStack() as stack:
                with held():
                    member = stack.enter_context(crew.Member("asks", closed_loop.run, job))
                member.wait_ready()
                member.go(time.perf_counter())
                message = member.take()
                assert isinstance(message, crew.Result)
            found[name].append(message.value)
            report(pair, name, message.value.per_second)
    first = [result.per_second for result in found[next(iter(addresses))]]
    return [compare(name, results, first) for name, results in found.items()]


def compare(name: str, results: Sequence[closed_loop.LoopResult], first: Sequence[float]) -> Tax:
    """`results` against the first server's requests per second, pair by pair."""
    ratios = [result.per_second / other for result, other in zip(results, first, strict=True)]
    return Tax(
        server=name,
        per_second=statistics.median(result.per_second for result in results),
        ratio=statistics.median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        client_load=statistics.median(r.cpu_seconds / r.seconds for r in results),
    )


SCENARIO = Scenario(
    name="tax",
    settings=TaxSettings,
    run=run,
    switch=how_many(
        "--tax",
        "pairs",
        10,
        "instead: requests per second without a body, in that many pairs (10)",
    ),
    without_report="The cost of a request has a table and --json, and no report or picture.",
)
