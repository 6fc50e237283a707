"""Counters of one process: how its request bodies ended, and what was done about connections.

Those above report here with count(); this module asks nobody. There is one count for each body:
that of its ending. All numbers start at 0 with the process.
"""

from __future__ import annotations

from collections import Counter

# How a body can end. All but the first two are errors' `ending`s, or are named here alone.
ENDINGS = {
    "complete": "read to its end by the application",
    "drained": "left unread, small enough to be thrown away; the connection went on",
    "unread": "left unread, more than drain_bytes of it or nobody knows how much",
    "incomplete": "the client went away, or a read was broken off",
    "malformed": "its chunks break the protocol",
    "corrupt": "its digest is not the one that the client announced",
    "timed_out": "nothing came for body_timeout_seconds",
    "too_slow": "less than min_rate_bytes a second came",
    "too_large": "more than max_body_bytes, or another limit on size",
    "turned_away": "more than max_uploads, or max_uploads_per_client",
    "not_stored": "disk full or broken",
    "killed": "the worker could not wait any longer",
}

# What else is counted.
EVENTS = {
    "bytes": "bytes of bodies that were received, thrown away ones included",
    "lingering": "connections that linger now",
    "lingered": "connections that lingered",
    "lingered_bytes": "bytes that those threw away",
    "lingering_cut": "those that ended because time was up, or another needed the place",
    "handshake_failed": "TLS handshakes that failed or took too long",
    "headers_timed_out": "new connections without a request for header_timeout_seconds",
}

_counts: Counter[str] = Counter()


def count(name: str, number: int = 1) -> None:
    """Add to one of the counters."""
    _counts[name] += number


def upload_statistics() -> dict[str, int]:
    """All counters of this process, by the names in ENDINGS and EVENTS."""
    return {name: _counts[name] for name in (*ENDINGS, *EVENTS)}
