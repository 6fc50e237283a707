"""What an upload keeps of its speed beside clients that hold their connections. Numbers only."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.measuring.statistics import Measurement, Row, make_rows


@dataclass(frozen=True, kw_only=True)
class StalledRow(Row):
    """`kept` is the share of its speed that the upload keeps beside the stalled clients.

    The median of the pairs; None without them, and where no pair of uploads went well. `cpu` is
    the server's CPU time with them in relation to that without, which other programs on the
    machine change far less than the speed. None for a server that is not ours.
    """

    kept: float | None
    lowest: float | None
    highest: float | None
    cpu: float | None


def make_stalled_rows(measurements: Sequence[Measurement]) -> list[StalledRow]:
    """As make_rows, with what is kept of the speed."""
    found = []
    for row in make_rows(measurements):
        mine = [run for run in measurements if run.server == row.server]
        pairs = _good_pairs(mine) if row.clients else []
        ratios = [_speed(beside) / _speed(alone) for alone, beside in pairs]
        costs = [
            beside.cost.cpu_seconds / alone.cost.cpu_seconds
            for alone, beside in pairs
            if alone.cost and beside.cost and alone.cost.cpu_seconds
        ]
        found.append(
            StalledRow(
                **vars(row),
                kept=statistics.median(ratios) if ratios else None,
                lowest=min(ratios, default=None),
                highest=max(ratios, default=None),
                cpu=statistics.median(costs) if costs else None,
            )
        )
    return found


def _good_pairs(runs: Sequence[Measurement]) -> list[tuple[Measurement, Measurement]]:
    """Without and with stalled clients, where both uploads went well."""
    alone = [run for run in runs if not run.clients]
    beside = [run for run in runs if run.clients]
    return [
        pair for pair in zip(alone, beside, strict=True) if all(run.content_bytes for run in pair)
    ]


def _speed(run: Measurement) -> float:
    return run.content_bytes / run.seconds
