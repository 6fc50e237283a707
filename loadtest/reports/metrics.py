"""The figures that `--assert` can be about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loadtest.measuring.statistics import Latency, Row

MIB = 1024 * 1024


@dataclass(frozen=True)
class Metric:
    """A figure: its name, and what it is of a row, or None if the row does not have it.

    `kinds` are kinds of clients that it can be asked of apart; `of` is given the one that was
    named, or None. `of_our_servers` means that it is known of servers alone that are started here.
    """

    name: str
    of: Callable[[Any, str | None], float | None]
    is_duration: bool = False
    of_our_servers: bool = False
    kinds: tuple[str, ...] = ()


def _duration(name: str, of: Callable[[Latency], float]) -> Metric:
    return _waited(name, lambda row: of(row.latency))


def _waited(name: str, of: Callable[[Row], float]) -> Metric:
    # Where no small request was due, a latency of 0 would satisfy everybody.
    return Metric(name, lambda row, _: of(row) if row.requests else None, is_duration=True)


def _number(name: str, of: Callable[[Row], float | None]) -> Metric:
    return Metric(name, lambda row, _: of(row))


def _cost(name: str, of: Callable[[Row], float | None]) -> Metric:
    return Metric(name, lambda row, _: of(row), of_our_servers=True)


# Of every scenario.
COMMON = (
    _duration("p50", lambda latency: latency.p50),
    _duration("p90", lambda latency: latency.p90),
    _duration("p99", lambda latency: latency.p99),
    _duration("p99.9", lambda latency: latency.p999),
    _waited("max", lambda row: row.worst),
    _number("MB/s", lambda row: row.mb_per_s),
    _cost("MB/CPUs", lambda row: row.mb_per_cpu_s),
    _number("p99/idle", lambda row: row.over_idle),
    _number("errors", lambda row: row.errors + row.unanswered + row.failed_uploads),
    _cost("MiB", lambda row: row.peak_memory and row.peak_memory / MIB),
    _cost("MiB/upload", lambda row: row.memory_per_upload and row.memory_per_upload / MIB),
)
