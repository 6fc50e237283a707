"""What becomes of the load test's refused clients: figures, demands and the report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from measurements import measurement

from loadtest import assertions
from loadtest.clients import refused
from loadtest.clients.refused import CUT, EXPECT, REFUSED, SEND_ALL, UNANSWERED, WATCH, Refusal
from loadtest.errors import UsageError
from loadtest.measuring.fates import ALL, LOOKING, RefusalRow, fates_by_kind, make_refusal_rows
from loadtest.measuring.session import Results
from loadtest.measuring.statistics import Measurement
from loadtest.reports import as_html
from loadtest.scenarios import refusals
from loadtest.scenarios.known import make_settings
from loadtest.settings import Settings


def one(kind: str = WATCH, fate: str = REFUSED, waited: float = 0.05, sent: int = 10**6,
        sent_before: int | None = 500_000) -> Refusal:  # fmt: skip
    return Refusal(
        client=0,
        start=0.5,
        end=1.0,
        sent=sent,
        length=10**9,
        content=0,
        outcome="ok" if fate == REFUSED else f"{fate} (why)",
        status=401 if fate == REFUSED else 0,
        kind=kind,
        fate=fate,
        waited=waited,
        sent_before=sent_before if fate == REFUSED else None,
    )


MIXED = (
    one(EXPECT, waited=0.02, sent=0, sent_before=0),
    one(WATCH, waited=0.08),
    one(WATCH, CUT, waited=0.9),
    one(SEND_ALL, waited=3.0, sent=8_000_000, sent_before=8_000_000),
    one(SEND_ALL, UNANSWERED, waited=45.0, sent=3_000_000),
)


def run_of(server: str, *refusals: Refusal, lost: int = 0) -> Measurement:
    return replace(
        measurement(server),
        clients=len(refusals),
        uploads=refusals,
        noun="refusal",
        workers_lost=lost,
    )


def rows() -> list[RefusalRow]:
    idle = replace(run_of("new"), uploads=())
    return make_refusal_rows([run_of("old", one(fate=CUT), lost=1), idle, run_of("new", *MIXED)])


def test_fates_are_counted_kind_by_kind() -> None:
    fates = fates_by_kind(MIXED)
    assert set(fates) == {*refused.KINDS, LOOKING, ALL}
    counts = {
        kind: (each.clients, each.refused, each.wrong, each.cut, each.unanswered)
        for kind, each in fates.items()
    }
    assert counts[WATCH] == (2, 1, 0, 1, 0)
    assert counts[SEND_ALL] == (2, 1, 0, 0, 1)
    assert counts[LOOKING] == (3, 2, 0, 1, 0)
    assert counts[ALL] == (5, 3, 0, 1, 1)


def test_the_unanswered_count_with_their_wait_and_the_cut_do_not() -> None:
    fates = fates_by_kind(MIXED)
    assert fates[SEND_ALL].waited.max == pytest.approx(45.0, rel=0.01)
    assert fates[WATCH].waited.max == pytest.approx(0.08, rel=0.01)
    assert fates[WATCH].waited.count == 1


def test_what_was_sent_is_added_up() -> None:
    fates = fates_by_kind(MIXED)
    assert fates[ALL].sent == 13_000_000
    assert (fates[ALL].sent_median, fates[ALL].sent_max) == (1_000_000, 8_000_000)
    assert fates[LOOKING].sent_before == 250_000
    assert fates_by_kind([one(fate=CUT)])[ALL].sent_before is None


def test_only_the_loaded_rows_have_fates_and_only_our_servers_workers() -> None:
    old, idle, loaded = rows()
    assert (old.workers_lost, loaded.workers_lost) == (1, 0)
    assert idle.fates == {}
    remote = replace(run_of("far", one()), cost=None)
    assert make_refusal_rows([remote])[0].workers_lost is None


def test_runs_are_counted_together() -> None:
    (row,) = make_refusal_rows([run_of("a", one(), lost=1), run_of("a", one(fate=CUT), lost=1)])
    assert row.fates[ALL].clients == 2
    assert row.workers_lost == 2


@pytest.mark.parametrize(
    "demand",
    ["status_max<100ms", "status_p50@send-all>1s", "status_max@expect<25ms", "refused=3",
     "cut=1,cut@expect=0", "unanswered@send-all=1", "wrong=0", "lost=0", "old.lost=1", "max<25ms",
     "MB/client<9", "MB/client@watch<=1"],
)  # fmt: skip
def test_demands_that_hold(demand: str) -> None:
    assert assertions.check(assertions.parse_assertions(demand), rows()) == []


def test_a_demand_that_does_not_hold_is_named_with_the_figure() -> None:
    demands = assertions.parse_assertions("status_max<50ms,refused=5")
    assert assertions.check(demands, rows()) == [
        "status_max<50ms does not hold: 80 ms on new with 5 refusals.",
        "refused=5 does not hold: 3 on new with 5 refusals.",
    ]


@pytest.mark.parametrize("demand", ["old.status_max<1s", "kept>0.9", "p99@watch<1s",
                                    "old.refused@expect=1", "refused@0=1"])  # fmt: skip
def test_a_demand_about_nothing_that_was_measured_is_refused(demand: str) -> None:
    with pytest.raises(UsageError):
        assertions.check(assertions.parse_assertions(demand), rows())


def test_no_latency_is_good_enough_where_none_was_measured() -> None:
    quick = make_refusal_rows([replace(run_of("a", one()), probes=())])
    with pytest.raises(UsageError):
        assertions.check(assertions.parse_assertions("max<25ms"), quick)


def test_the_scenario_has_defaults_of_its_own() -> None:
    chosen = make_settings({"refusals": 100})
    assert (chosen.size, chosen.deadline, chosen.repeat) == (2 << 30, 45.0, 1)
    assert make_settings({"refusals": 5, "size": 7}).size == 7
    assert make_settings({}) == Settings()


def findings_of(*runs: Measurement) -> Any:
    chosen = make_settings({"refusals": 5})
    return refusals.findings(Results(chosen, 0, runs))


def test_the_verdict_names_the_longest_wait_and_who_got_nothing() -> None:
    found = findings_of(run_of("old", one(fate=CUT), lost=1), run_of("new", *MIXED))
    assert found.verdict == (
        "Longest wait for a refusal all cut on old, 80 ms on new; clients without one: 1 on old, "
        "2 on new; worst small request 1.0 ms on old, 1.0 ms on new."
    )
    assert "old with 1 refusal: the server lost 1 worker." in found.notes
    assert "new with 5 refusals: 1 of 5 uploads: cut (why), after 1,000,000 of 1,000,000,000 " \
        "bytes." in found.notes  # fmt: skip
    assert not found.faults


def test_each_kind_has_a_line_and_one_kind_alone_no_second() -> None:
    clients, probes = findings_of(run_of("old", one()), run_of("new", *MIXED)).tables
    assert [line[:2] for line in clients.lines] == [
        ["old", WATCH], ["new", EXPECT], ["new", WATCH], ["new", SEND_ALL], ["new", ALL],
    ]  # fmt: skip
    for grid in (clients, probes):
        assert {len(line) for line in grid.lines} == {len(grid.headings)}


def test_clients_that_look_late_are_reported() -> None:
    late = replace(run_of("new", *MIXED), client_late=0.03)
    assert "the clients themselves looked up to 30 ms late" in findings_of(late).notes[0]
    assert (
        findings_of(replace(late, client_late=0.01)).notes
        == findings_of(run_of("new", *MIXED)).notes
    )


def test_the_report_has_both_tables_and_no_picture_of_uploads() -> None:
    found = findings_of(run_of("old", one()), run_of("new", *MIXED))
    page = as_html.render(found, command="python -m loadtest", facts={})
    assert page.count("<table>") == 2
    assert "5 refusals" in page
    assert "number of uploads" not in page
