"""What is counted of uploads: a step of the record, by the names of monitoring's events.

Pure; the registry counts what it has committed.
"""

from __future__ import annotations

from .record import State, Upload

_BY_STATE = {
    State.READY: "uploads_ready",
    State.REFUSED: "uploads_refused",
    State.EXPIRED: "uploads_expired",
}


def counted_as(before: Upload, after: Upload) -> list[str]:
    """The events that a step is."""
    events = []
    if after.state is not before.state and after.state in _BY_STATE:
        events.append(_BY_STATE[after.state])
    if after.generation > before.generation and before.state is State.OPEN:
        if before.generation:  # some request has brought bytes before
            events.append("uploads_resumed")
        if before.holder is not None:
            events.append("leases_taken_over")
    return events
