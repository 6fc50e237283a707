"""What all processes that share a board tell: for whoever shows, sends or asks for it.

Reading takes no lock and holds nobody up, nor does a worker that stands still hold up the reader:
its numbers are there as it left them. Everything here is a copy of one moment.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .board import (
    DURATION_BOUNDS,
    LAG_BOUNDS,
    LAG_SECONDS,
    NUMBERS,
    Histogram,
    Sheet,
    State,
    UploadRecord,
    copy_of,
    ending_name,
)
from .monitor import KEPT_SECONDS, current_board
from .upload_id import key_of

_STATES = {
    State.READING: "reading",
    State.WAITING_FOR_A_PLACE: "waiting for a place",
    State.WAITING_FOR_ITS_TURN: "waiting for its turn",
    State.WAITING_FOR_THE_CLIENT: "waiting for the client",
    State.WRITING: "writing",
}
DRAINING = "draining"
ANSWERING = "answering"  # the whole body has come

# The endings of a body that came to its last byte.
_CAME_WHOLE = frozenset({"complete", "drained"})

# All that an upload in progress can be doing.
STATES = (*_STATES.values(), DRAINING, ANSWERING)


@dataclass(frozen=True)
class UploadOverview:
    """One upload in progress.

    id: of this upload in this server; says nothing of the id that its client may have chosen.
    worker: the process id of its worker.
    received, expected: bytes; expected is None where the framing does not announce them.
    rate: bytes a second, of the last seconds.
    seconds: since its headers came.
    state: one of STATES.
    waited_for_turns, waited_for_client, waited_for_disk: seconds, of waits that are over; those
        for a place are among those for turns.
    """

    id: str
    worker: int
    client: str
    method: str
    path: str
    received: int
    expected: int | None
    rate: float
    seconds: float
    state: str
    waited_for_turns: float
    waited_for_client: float
    waited_for_disk: float


@dataclass(frozen=True)
class WorkerOverview:
    """One process that counts, and runs.

    seconds: since it began.
    silent_seconds: since its loop last went round; None where nothing looks after that.
    uploads: bodies in progress.
    lag: the greatest lag of the loop, in seconds, in each of the last seconds, the latest last.
    """

    pid: int
    seconds: float
    silent_seconds: float | None
    uploads: int
    lag: list[float]


@dataclass(frozen=True)
class HistogramOverview:
    """How often values were seen.

    bounds: in seconds, inclusive.
    counts: how many were within each bound and above the one before; the last, above them all.
    sum: of all values, in seconds.
    """

    bounds: list[float]
    counts: list[int]
    sum: float


@dataclass(frozen=True)
class Overview:
    """All of it.

    workers, uploads: those that run now, the oldest first.
    numbers: by the names in ENDINGS, EVENTS and GAUGES: of all processes, also of those that have
        gone.
    loop_lag: by how much timers of the workers' loops came too late.
    arrival: from the headers of an upload to its last byte, or to its end if that never came.
    turn_wait: of the time of each upload, that in which it waited for turns and for a place.
    """

    workers: list[WorkerOverview]
    uploads: list[UploadOverview]
    numbers: dict[str, int]
    loop_lag: HistogramOverview
    arrival: HistogramOverview
    turn_wait: HistogramOverview


@dataclass(frozen=True)
class Progress:
    """How far the upload is that has an id.

    state: "uploading"; "done" once the whole body has come and was answered with a status below
        400; "error" once it has ended in any other way, or is refused.
    received, size: bytes; size is None where the framing does not announce it.
    rate: bytes a second, of the last seconds.
    status: of the response; 0 as long as there is none, and if there never was one.
    ending: one of ENDINGS, once it has ended.
    """

    state: str
    received: int
    size: int | None
    rate: float
    status: int
    ending: str | None


def overview() -> Overview:
    """How things are at this moment."""
    sheets = current_board().sheets()
    now = time.monotonic()
    running = sorted((sheet for sheet in sheets if sheet.pid), key=lambda sheet: sheet.began)
    uploads = [
        (record.began, _upload(sheet, record, now))
        for sheet in running
        for record in _copies(record for record in sheet.uploads() if not record.ended)
        if not record.ended
    ]
    return Overview(
        workers=[_worker(sheet, now) for sheet in running],
        uploads=[upload for _, upload in sorted(uploads, key=lambda pair: pair[0])],
        numbers={name: sum(sheet.number(name) for sheet in sheets) for name in NUMBERS},
        loop_lag=_histogram(LAG_BOUNDS, [sheet.lag for sheet in sheets]),
        arrival=_histogram(DURATION_BOUNDS, [sheet.arrival for sheet in sheets]),
        turn_wait=_histogram(DURATION_BOUNDS, [sheet.turn_wait for sheet in sheets]),
    )


def find_progress(chosen_id: str) -> Progress | None:
    """Of the upload with that id, the last if several had it; None if there is none.

    It can be found for KEPT_SECONDS after its end, or longer.
    """
    if not chosen_id:
        return None
    key = key_of(chosen_id)
    long_ago = time.monotonic() - KEPT_SECONDS
    found = [
        record
        for sheet in current_board().sheets()
        for record in sheet.uploads_with(key)
        if not record.ended or record.ended > long_ago
    ]
    if not found:
        return None
    return _progress(max(found, key=lambda record: record.began))


def _copies(records: Iterable[UploadRecord]) -> Iterator[UploadRecord]:
    """Each as it is at one moment: those of other workers change while they are read."""
    return filter(None, map(copy_of, records))


def _progress(record: UploadRecord) -> Progress:
    return Progress(
        state=_state_of_progress(record),
        received=record.received,
        size=None if record.expected < 0 else record.expected,
        rate=record.rate,
        status=record.status,
        ending=ending_name(record) if record.ended else None,
    )


def _state_of_progress(record: UploadRecord) -> str:
    if record.status >= 400:
        return "error"
    if not record.ended:
        return "uploading"
    # Without a status the application failed before it had answered.
    return "done" if record.status and ending_name(record) in _CAME_WHOLE else "error"


def _upload(sheet: Sheet, record: UploadRecord, now: float) -> UploadOverview:
    return UploadOverview(
        id=f"{sheet.pid}-{int(record.began * 1e6):x}",
        worker=sheet.pid,
        client=record.client.decode(errors="replace"),
        method=record.method.decode(errors="replace"),
        path=record.path.decode(errors="replace"),
        received=record.received,
        expected=None if record.expected < 0 else record.expected,
        rate=record.rate,
        seconds=now - record.began,
        state=_state(record),
        waited_for_turns=record.waited_for_turns,
        waited_for_client=record.waited_for_client,
        waited_for_disk=record.waited_for_disk,
    )


def _state(record: UploadRecord) -> str:
    if record.draining:
        return DRAINING
    if record.arrived and record.state == State.READING:
        return ANSWERING
    return _STATES[record.state]


def _worker(sheet: Sheet, now: float) -> WorkerOverview:
    return WorkerOverview(
        pid=sheet.pid,
        seconds=now - sheet.began,
        silent_seconds=max(0.0, now - sheet.alive) if sheet.alive else None,
        uploads=sheet.number("uploads"),
        lag=sheet.lag_of_last(LAG_SECONDS),
    )


def _histogram(bounds: tuple[float, ...], histograms: list[Histogram]) -> HistogramOverview:
    counts = [sum(each.counts[i] for each in histograms) for i in range(len(bounds) + 1)]
    return HistogramOverview(list(bounds), counts, sum(each.sum for each in histograms))
