"""UploadCollector: the numbers of all workers for Prometheus.

prometheus_client's own metrics are those of one process, and in its multiprocess mode those of
files that all write. What this package counts is in memory that all workers share already, so that
any of them answers a scrape with the numbers of all, in either mode; those of workers that have
gone stay in, and no counter ever goes down while the server runs.

No label tells uploads, clients or workers apart: each value of a label is a time series, which
Prometheus keeps for weeks.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

try:
    from prometheus_client import Metric
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )
    from prometheus_client.registry import Collector
    from prometheus_client.utils import floatToGoString
except ImportError as error:
    raise ImportError(
        "cooperative_upload.prometheus needs a package that is not installed: "
        f"pip install prometheus_client ({error})"
    ) from error

from .board import DURATION_BOUNDS, ENDINGS, EVENTS, GAUGES, LAG_BOUNDS, NUMBERS
from .overview import HistogramOverview, Overview, overview

_PREFIX = "cooperative_upload_"

# What Prometheus calls EVENTS, and the unit that such a name ends with.
COUNTERS = {
    "bytes": ("received_bytes", "bytes"),
    "turns": ("turns", ""),
    "grants_by_deadline": ("deadline_turns", ""),
    "loop_blocked": ("loop_blocks", ""),
    "lingered": ("lingered_connections", ""),
    "lingered_bytes": ("lingered_bytes", "bytes"),
    "lingering_cut": ("lingering_cuts", ""),
    "handshake_failed": ("handshake_failures", ""),
    "headers_timed_out": ("header_timeouts", ""),
    "uploads_created": ("resumable_created", ""),
    "uploads_resumed": ("resumable_resumed", ""),
    "uploads_superseded": ("resumable_superseded", ""),
    "uploads_refused": ("resumable_refused", ""),
    "uploads_expired": ("resumable_expired", ""),
    "uploads_ready": ("resumable_ready", ""),
    "bytes_again": ("resumable_repeated_bytes", "bytes"),
    "leases_taken_over": ("resumable_takeovers", ""),
}

# What it calls GAUGES.
NOW = {
    "uploads": "uploads_in_progress",
    "lingering": "lingering_connections",
}


class UploadCollector(Collector):
    """`REGISTRY.register(UploadCollector())`, or with any other registry of prometheus_client.

    To register it does nothing yet: it may be done before the server forks.
    """

    def describe(self) -> Iterator[Metric]:
        """The metrics by which the registry looks for duplicates; their values mean nothing."""
        return _metrics(_NOTHING)

    def collect(self) -> Iterator[Metric]:
        """The numbers of this moment."""
        return _metrics(overview())


def _nothing(bounds: tuple[float, ...]) -> HistogramOverview:
    return HistogramOverview(list(bounds), [0] * (len(bounds) + 1), 0.0)


_NOTHING = Overview(
    workers=[],
    uploads=[],
    numbers=dict.fromkeys(NUMBERS, 0),
    loop_lag=_nothing(LAG_BOUNDS),
    arrival=_nothing(DURATION_BOUNDS),
    turn_wait=_nothing(DURATION_BOUNDS),
)


def _metrics(now: Overview) -> Iterator[Metric]:
    yield _bodies(now)
    for event, (name, unit) in COUNTERS.items():
        help_text = _sentence(EVENTS[event])
        yield CounterMetricFamily(_PREFIX + name, help_text, now.numbers[event], unit=unit)
    for gauge, name in NOW.items():
        yield GaugeMetricFamily(_PREFIX + name, _sentence(GAUGES[gauge]), now.numbers[gauge])
    yield GaugeMetricFamily(
        f"{_PREFIX}in_progress_bytes",
        "Bytes received so far of bodies in progress.",
        sum(upload.received for upload in now.uploads),
        unit="bytes",
    )
    yield GaugeMetricFamily(
        f"{_PREFIX}workers", "Processes that count, and run.", len(now.workers)
    )
    yield _silence(now)
    yield _histogram(
        "loop_lag_seconds",
        "By how much timers of the workers' event loops came too late.",
        now.loop_lag,
    )
    yield _histogram(
        "arrival_seconds",
        "From the headers of an upload to its last byte, or to its end if that never came.",
        now.arrival,
    )
    yield _histogram(
        "turn_wait_seconds",
        "Of the time of each upload, that in which it waited for turns and for a place.",
        now.turn_wait,
    )


def _bodies(now: Overview) -> Metric:
    meanings = "; ".join(f"{ending}: {meaning}" for ending, meaning in ENDINGS.items())
    bodies = CounterMetricFamily(
        f"{_PREFIX}bodies", f"Bodies by how they ended. {meanings}.", labels=["ending"]
    )
    for ending in ENDINGS:
        bodies.add_metric([ending], now.numbers[ending])
    return bodies


def _silence(now: Overview) -> Metric:
    """The one that has been silent longest: it is the one to know of, and needs no label."""
    silent = [each.silent_seconds for each in now.workers if each.silent_seconds is not None]
    return GaugeMetricFamily(
        f"{_PREFIX}loop_silent_seconds",
        "Since the event loop of a worker last went round; the longest of all workers.",
        max(silent, default=0.0),
        unit="seconds",
    )


def _histogram(name: str, help_text: str, histogram: HistogramOverview) -> Metric:
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
    return HistogramMetricFamily(_PREFIX + name, help_text, buckets, histogram.sum, unit="seconds")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
