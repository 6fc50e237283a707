"""`--assert "p99<25ms,ratio>=2"`: what the figures must be, for CI.

Each assertion is `[server.]metric[@uploads] comparison value`. Without a server it is about the
last one named; without a number of uploads it must hold for each of them (the idle server counts
only with `@0`). Durations have a unit (25ms); `ratio` is the speed in relation to that of
the first server.

Of refused clients: `[server.]metric[@kind]`. Without a kind, counts are about all of them, and the
time to the status about those that look for it while they send. Of stalled clients: `kept` is the
share of its speed that the upload keeps, `cpu` the server's CPU time in relation to that without.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtest.clients.refused import KINDS
from loadtest.errors import UsageError
from loadtest.measuring.fates import ALL, LOOKING, Fates, RefusalRow
from loadtest.measuring.stalled import StalledRow
from loadtest.measuring.statistics import Row
from loadtest.settings import Settings
from loadtest.units import format_number, format_seconds, parse_seconds

MIB = 1024 * 1024
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_DURATIONS: dict[str, Callable[[Row], float | None]] = {
    "p50": lambda row: row.latency.p50,
    "p90": lambda row: row.latency.p90,
    "p99": lambda row: row.latency.p99,
    "p99.9": lambda row: row.latency.p999,
    "max": lambda row: row.worst,
}
_NUMBERS: dict[str, Callable[[Row], float | None]] = {
    "MB/s": lambda row: row.mb_per_s,
    "MB/CPUs": lambda row: row.mb_per_cpu_s,
    "p99/idle": lambda row: row.over_idle,
    "errors": lambda row: row.errors + row.unanswered + row.failed_uploads,
    "MiB": lambda row: row.peak_memory and row.peak_memory / MIB,
    "MiB/upload": lambda row: row.memory_per_upload and row.memory_per_upload / MIB,
    "lost": lambda row: row.workers_lost if isinstance(row, RefusalRow) else None,
    "kept": lambda row: row.kept if isinstance(row, StalledRow) else None,
    "cpu": lambda row: row.cpu if isinstance(row, StalledRow) else None,
}
_STATUS_DURATIONS: dict[str, Callable[[Fates], float | None]] = {
    "status_p50": lambda fates: fates.waited.p50 if fates.waited.count else None,
    "status_p99": lambda fates: fates.waited.p99 if fates.waited.count else None,
    "status_max": lambda fates: fates.waited.max if fates.waited.count else None,
}
_FATES: dict[str, Callable[[Fates], float | None]] = {
    "refused": lambda fates: fates.refused,
    "wrong": lambda fates: fates.wrong,
    "cut": lambda fates: fates.cut,
    "unanswered": lambda fates: fates.unanswered,
    "MB/client": lambda fates: fates.sent_max / 1e6,
}
# What only one scenario has, and what is known of servers alone that are started here.
_ONLY_IN = {
    **dict.fromkeys((*_STATUS_DURATIONS, *_FATES, "lost"), "refusals"),
    **dict.fromkeys(("kept", "cpu"), "stalled"),
}
_OF_OUR_SERVERS = ("MB/CPUs", "MiB", "MiB/upload", "lost", "cpu")
METRICS = (*_DURATIONS, *_NUMBERS, "ratio", *_STATUS_DURATIONS, *_FATES)
_METRIC = "|".join(re.escape(metric) for metric in METRICS)
_FORM = re.compile(
    rf"(?:(?P<server>[\w:.-]+?)\.)?(?P<metric>{_METRIC})"
    rf"(?:@(?:(?P<clients>\d+)|(?P<kind>{'|'.join(KINDS)})))?"
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
        duration = _is_duration(match["metric"])
        value = parse_seconds(match["value"]) if duration else float(match["value"])
    except ValueError as error:
        raise UsageError(f"{text!r} is no assertion ({error}).") from None
    clients = int(match["clients"]) if match["clients"] else None
    server, metric, comparison = match["server"], match["metric"], match["comparison"]
    return Assertion(text, server, metric, clients, match["kind"], comparison, value)


def refuse_impossible(
    assertions: Sequence[Assertion], settings: Settings, servers: Sequence[str]
) -> None:
    """Raise UsageError for a demand that no run with these settings can answer.

    servers: their names in the results, in the order in which they were given.
    """
    for assertion in assertions:
        lack = _lack(assertion, settings, servers)
        if lack:
            raise UsageError(f"{assertion.text!r} can't be answered: {lack}.")


def _lack(assertion: Assertion, settings: Settings, servers: Sequence[str]) -> str | None:
    """What the run does not have that the demand is about."""
    metric, clients = assertion.metric, assertion.clients
    server = assertion.server or servers[-1]
    scenario = settings.scenario
    of_refused = metric in _STATUS_DURATIONS or metric in _FATES
    for lacks, sentence in (
        (scenario == "tax", "--tax has no figures for --assert"),
        (server not in servers, f"{server} is not measured, but {', '.join(servers)}"),
        (
            metric == "ratio" and server == servers[0],
            "a ratio is that of another server to the first one",
        ),
        (
            metric == "ratio" and (scenario == "refusals" or clients == 0),
            "nothing is uploaded there, so nothing was faster",
        ),
        (
            _ONLY_IN.get(metric, scenario) != scenario,
            f"{metric} is a figure of --{_ONLY_IN.get(metric)}",
        ),
        (
            metric in _OF_OUR_SERVERS and bool(settings.urls),
            f"{metric} is not known of a server that runs elsewhere",
        ),
        (
            clients not in (None, 0, *settings.loads),
            f"no {clients} clients at once are measured",
        ),
        (clients is None and not any(settings.loads), "only the idle server is measured"),
        (
            assertion.kind is not None and not of_refused,
            f"{metric} is not about one kind of client",
        ),
        (
            assertion.kind not in (None, *settings.kinds),
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
    metric = assertion.metric
    if metric in (*_STATUS_DURATIONS, *_FATES):
        value = _fate(assertion, row)
    elif assertion.kind or (metric in _DURATIONS and not row.requests):
        # Where no small request was due, a latency of 0 would satisfy everybody.
        value = None
    elif metric == "ratio":
        value = _ratio(row, rows)
    else:
        value = {**_DURATIONS, **_NUMBERS}[metric](row)
    if value is None:
        raise UsageError(f"{assertion.text!r} is about a figure that this run does not have.")
    return value


def _ratio(row: Row, rows: Sequence[Row]) -> float | None:
    for other in rows:
        same = other.server == rows[0].server and other.clients == row.clients
        if same and other.server != row.server and other.mb_per_s:
            return row.mb_per_s / other.mb_per_s
    return None


def _fate(assertion: Assertion, row: Row) -> float | None:
    metric = assertion.metric
    kind = assertion.kind or (LOOKING if metric in _STATUS_DURATIONS else ALL)
    if not isinstance(row, RefusalRow) or kind not in row.fates:
        return None
    return {**_STATUS_DURATIONS, **_FATES}[metric](row.fates[kind])


def _is_duration(metric: str) -> bool:
    return metric in _DURATIONS or metric in _STATUS_DURATIONS


def _show(metric: str, value: float) -> str:
    return format_seconds(value) if _is_duration(metric) else format_number(value)
