"""What the refused clients of a server saw, kind by kind. Numbers only, no I/O."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.clients.refused import CUT, KINDS, REFUSED, SEND_ALL, UNANSWERED, WRONG, Refusal
from loadtest.measuring.statistics import Latency, Measurement, Row, latency_of, make_rows

ALL = "all"
# Of those that look for the answer while they send. How long the others wait for their status is
# how long they take to send.
LOOKING = "looking"


@dataclass(frozen=True)
class Fates:
    """What became of a set of clients, in all runs; each counts once.

    `waited` is from the last byte of the headers to the status, in seconds, and for the
    unanswered to the end. It leaves out those that were cut, which waited for nothing. Sizes are
    bytes of body that were sent: until the status was seen (median), and in all.
    """

    clients: int
    refused: int
    wrong: int
    cut: int
    unanswered: int
    waited: Latency
    sent_before: float | None
    sent_median: float
    sent_max: int
    sent: int


@dataclass(frozen=True, kw_only=True)
class RefusalRow(Row):
    """`fates` by kind of client, and of all. Empty for the idle server.

    `workers_lost` is None for a server that is not ours.
    """

    fates: dict[str, Fates]
    workers_lost: int | None


def make_refusal_rows(measurements: Sequence[Measurement]) -> list[RefusalRow]:
    """As make_rows, with what became of the clients."""
    found = []
    for row in make_rows(measurements):
        runs = [
            run for run in measurements if (run.server, run.clients) == (row.server, row.clients)
        ]
        refusals = [each for run in runs for each in run.uploads if isinstance(each, Refusal)]
        ours = all(run.cost for run in runs)
        found.append(
            RefusalRow(
                **vars(row),
                fates=fates_by_kind(refusals),
                workers_lost=sum(run.workers_lost for run in runs) if ours else None,
            )
        )
    return found


def fates_by_kind(refusals: Sequence[Refusal]) -> dict[str, Fates]:
    """Of each kind that there is, of those that look, and of all."""
    groups = {kind: [each for each in refusals if each.kind == kind] for kind in KINDS}
    groups[LOOKING] = [each for each in refusals if each.kind != SEND_ALL]
    groups[ALL] = list(refusals)
    return {name: fates_of(group) for name, group in groups.items() if group}


def fates_of(refusals: Sequence[Refusal]) -> Fates:
    """`refusals` must not be empty."""
    fates = [each.fate for each in refusals]
    before = [each.sent_before for each in refusals if each.sent_before is not None]
    return Fates(
        clients=len(refusals),
        refused=fates.count(REFUSED),
        wrong=fates.count(WRONG),
        cut=fates.count(CUT),
        unanswered=fates.count(UNANSWERED),
        waited=latency_of(each.waited for each in refusals if each.fate != CUT),
        sent_before=statistics.median(before) if before else None,
        sent_median=statistics.median(each.sent for each in refusals),
        sent_max=max(each.sent for each in refusals),
        sent=sum(each.sent for each in refusals),
    )
