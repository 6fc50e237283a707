"""`--assert "p99<25ms,ratio>=2"`: what the figures must be, for CI.

Each assertion is `[server.]metric[@uploads] comparison value`. Without a server it is about the
last one named; without a number of uploads it must hold for each of them (the idle server counts
only with `@0`). Durations have a unit (25ms); `ratio` is the speed in relation to that of
the first server.

A scenario has metrics of its own. Those that are about kinds of clients: `[server.]metric[@kind]`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtest.errors import UsageError
from loadtest.measuring.statistics import Row
from loadtest.reports.metrics import COMMON, Metric
from loadtest.scenarios.contract import Scenario
from loadtest.scenarios.known import SCENARIOS
from loadtest.settings import Settings
from loadtest.units import format_number, format_seconds, parse_seconds

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
RATIO = Metric("ratio", lambda row, _: None)  # of two rows: the speed in relation to another's
METRICS = {
    metric.name: metric
    for metric in (*COMMON, RATIO, *(each for known in SCENARIOS for each in known.metrics))
}
# Those that only one scenario has.
_ONLY_IN = {metric.name: known.name for known in SCENARIOS for metric in known.metrics}
_METRIC = "|".join(re.escape(metric) for metric in METRICS)
_KIND = "|".join(dict.fromkeys(kind for metric in METRICS.values() for kind in metric.kinds))
_FORM = re.compile(
    rf"(?:(?P<server>[\w:.-]+?)\.)?(?P<metric>{_METRIC})"
    rf"(?:@(?:(?P<clients>\d+)|(?P<kind>{_KIND})))?"
    r"(?P<comparison><=|>=|<|>|=)(?P<value>[0-9.]+[a-z]*)"
)


@dataclass(frozen=True)
class Assertion:
    """One demand. `value` is in seconds for a duration."""

    text: str
    server: str | None
    metric: str
    clients: int | None
    kind: str | None
    comparison: str
    value: float


def parse_assertions(text: str) -> list[Assertion]:
    """The demands of a comma-separated list. Raises UsageError."""
    return [_parse("".join(part.split())) for part in text.split(",") if part.strip()]


def _parse(text: str) -> Assertion:
    match = _FORM.fullmatch(text)
    try:
        if match is None:
            raise ValueError(f"metrics are {', '.join(METRICS)}")
        duration = METRICS[match["metric"]].is_duration
        value = parse_seconds(match["value"]) if duration else float(match["value"])
    except ValueError as error:
        raise UsageError(f"{text!r} is no assertion ({error}).") from None
    clients = int(match["clients"]) if match["clients"] else None
    server, metric, comparison = match["server"], match["metric"], match["comparison"]
    return Assertion(text, server, metric, clients, match["kind"], comparison, value)


def refuse_impossible(
    assertions: Sequence[Assertion],
    scenario: Scenario,
    settings: Settings,
    servers: Sequence[str],
) -> None:
    """Raise UsageError for a demand that no run with these settings can answer.

    servers: their names in the results, in the order in which they were given.
    """
    for assertion in assertions:
        lack = _lack(assertion, scenario, settings, servers)
        if lack:
            raise UsageError(f"{assertion.text!r} can't be answered: {lack}.")


def _lack(
    assertion: Assertion, scenario: Scenario, settings: Settings, servers: Sequence[str]
) -> str | None:
    """What the run does not have that the demand is about."""
    metric, clients = assertion.metric, assertion.clients
    server = assertion.server or servers[-1]
    for lacks, sentence in (
        (bool(scenario.without_report), f"--{scenario.name} has no figures for --assert"),
        (server not in servers, f"{server} is not measured, but {', '.join(servers)}"),
        (
            metric == "ratio" and server == servers[0],
            "a ratio is that of another server to the first one",
        ),
        (
            metric == "ratio" and (not scenario.has_speed or clients == 0),
            "nothing is uploaded there, so nothing was faster",
        ),
        (
            _ONLY_IN.get(metric, scenario.name) != scenario.name,
            f"{metric} is a figure of --{_ONLY_IN.get(metric)}",
        ),
        (
            METRICS[metric].of_our_servers and bool(settings.urls),
            f"{metric} is not known of a server that runs elsewhere",
        ),
        (
            clients not in (None, 0, *settings.loads),
            f"no {clients} clients at once are measured",
        ),
        (clients is None and not any(settings.loads), "only the idle server is measured"),
        (
            assertion.kind is not None and not METRICS[metric].kinds,
            f"{metric} is not about one kind of client",
        ),
        (
            assertion.kind not in (None, *settings.client_kinds),
            f"there are no {assertion.kind} clients",
        ),
    ):
        if lacks:
            return sentence
    return None


def check(assertions: Sequence[Assertion], rows: Sequence[Row]) -> list[str]:
    """A sentence for each figure that is not as demanded. Raises UsageError for none to hold."""
    failures = []
    for assertion in assertions:
        server = assertion.server or rows[-1].server
        chosen = [row for row in rows if row.server == server and _is_meant(assertion, row)]
        if not chosen:
            raise UsageError(f"{assertion.text!r} is about nothing that was measured.")
        for row in chosen:
            value = _figure(assertion, row, rows)
            if not COMPARISONS[assertion.comparison](value, assertion.value):
                failures.append(
                    f"{assertion.text} does not hold: {_show(assertion.metric, value)} on "
                    f"{server} with {row.load}."
                )
    return failures


def _is_meant(assertion: Assertion, row: Row) -> bool:
    return row.clients > 0 if assertion.clients is None else row.clients == assertion.clients


def _figure(assertion: Assertion, row: Row, rows: Sequence[Row]) -> float:
    metric = METRICS[assertion.metric]
    if metric is RATIO:
        value = _ratio(row, rows)
    elif assertion.kind and not metric.kinds:
        value = None
    else:
        value = metric.of(row, assertion.kind)
    if value is None:
        raise UsageError(f"{assertion.text!r} is about a figure that this run does not have.")
    return value


def _ratio(row: Row, rows: Sequence[Row]) -> float | None:
    for other in rows:
        same = other.server == rows[0].server and other.clients == row.clients
        if same and other.server != row.server and other.mb_per_s:
            return row.mb_per_s / other.mb_per_s
    return None


def _show(metric: str, value: float) -> str:
    return format_seconds(value) if METRICS[metric].is_duration else format_number(value)
