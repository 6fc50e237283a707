"""The board: what the worker processes of one server count, in memory that they share.

Each process has a sheet of its own, which it alone writes and all can read. So nothing is sent
and nothing is locked: to write a number takes some 50 ns, a worker that stands still is seen as
it stood, and what a worker that was killed had counted stays counted, since the next one goes on
with its sheet. The kernel tells who is alive: each process holds a lock on its sheet, which ends
with it.

The memory is shared by those who inherit it. Our worker has it made before gunicorn forks; where
nobody does, a process has a board of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

from gevent.monkey import get_original

from .upload_id import KEY_BYTES

# Native also where gevent has patched the modules: for threads, and never held by a greenlet that
# lets others run.
new_lock: Any = get_original("_thread", "allocate_lock")

# How a body can end. All but the first two are errors' `ending`s.
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
    "killed": "the worker could not wait any longer, or was killed itself",
}

# What else is counted.
EVENTS = {
    "bytes": "bytes of bodies that were received, thrown away ones included",
    "turns": "turns that were granted",
    "grants_by_deadline": "turns that the deadline granted, because the loop was busy",
    "loop_blocked": "times that a greenlet held the loop longer than loop_blocked_ms",
    "lingered": "connections that lingered",
    "lingered_bytes": "bytes that lingering connections threw away",
    "lingering_cut": "lingering connections whose time was up, or whose place another needed",
    "handshake_failed": "TLS handshakes that failed or took too long",
    "headers_timed_out": "new connections without a request for header_timeout_seconds",
    "uploads_created": "resumable uploads that were begun",
    "uploads_resumed": "requests that went on with a resumable upload behind a first one",
    "uploads_superseded": "requests that ended because a newer one went on with their upload",
    "uploads_refused": "resumable uploads that a check refused",
    "uploads_expired": "resumable uploads that were abandoned, cancelled or deleted",
    "uploads_ready": "resumable uploads that became ready",
    "bytes_again": "bytes of resumable uploads that came although they were there",
    "leases_taken_over": "leases of resumable uploads that were taken over",
}

# What there is of now; 0 in a worker that has gone.
GAUGES = {
    "uploads": "bodies in progress",
    "lingering": "connections that linger",
}

NUMBERS = (*ENDINGS, *EVENTS, *GAUGES)
_POSITIONS = {name: position for position, name in enumerate(NUMBERS)}

# Upper bounds, in seconds, of what a histogram tells apart; what is more goes into one more class.
LAG_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
DURATION_BOUNDS = (0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)

# Uploads of one worker that are told one by one: gunicorn's default for worker_connections.
RECORDS = 1024

# The most that is kept of a text, in UTF-8.
CLIENT_BYTES = 64
METHOD_BYTES = 16
PATH_BYTES = 264

# The most bytes that a record can expect; what a client announces beyond that never comes.
MOST_EXPECTED = 2**63 - 1

# Seconds of which the greatest lag of each is kept.
LAG_SECONDS = 120


class State:
    """What an upload does at the moment.

    Not an enumeration, of which a member takes three times as long to write as a number.
    """

    READING = 0  # received, parsed, or used by the application
    WAITING_FOR_A_PLACE = 1  # of max_uploads
    WAITING_FOR_ITS_TURN = 2
    WAITING_FOR_THE_CLIENT = 3
    WRITING = 4  # waiting for the disk


class UploadRecord(ctypes.Structure):
    """One request with a body. Times are those of time.monotonic(), which all processes share."""

    number: int
    state: int
    draining: int
    received: int
    expected: int
    ending: int
    status: int
    rate: float
    began: float
    arrived: float
    ended: float
    waited_for_turns: float
    waited_for_client: float
    waited_for_disk: float
    client: bytes
    method: bytes
    path: bytes

    _fields_ = [
        ("number", ctypes.c_uint64),  # of this record's uses; 0 before the first
        ("state", ctypes.c_uint64),
        ("draining", ctypes.c_uint64),  # 1: what comes is thrown away
        ("received", ctypes.c_uint64),  # bytes
        ("expected", ctypes.c_int64),  # bytes; -1 if the framing does not announce them
        ("rate", ctypes.c_double),  # bytes a second, of the last seconds
        ("began", ctypes.c_double),
        ("arrived", ctypes.c_double),  # when the last byte came; 0 until then
        ("ended", ctypes.c_double),  # 0 as long as it runs
        ("ending", ctypes.c_uint64),  # the position among ENDINGS
        ("status", ctypes.c_uint64),  # of the response; 0 if there was none
        ("waited_for_turns", ctypes.c_double),  # seconds
        ("waited_for_client", ctypes.c_double),
        ("waited_for_disk", ctypes.c_double),
        ("client", ctypes.c_char * CLIENT_BYTES),
        ("method", ctypes.c_char * METHOD_BYTES),
        ("path", ctypes.c_char * PATH_BYTES),
    ]


class Histogram(ctypes.Structure):
    """How often values of each class were seen, and their sum."""

    counts: ctypes.Array[ctypes.c_uint64]
    sum: float

    _fields_ = [("counts", ctypes.c_uint64 * 16), ("sum", ctypes.c_double)]

    def observe(self, bounds: Sequence[float], seconds: float) -> None:
        self.counts[bisect_left(bounds, seconds)] += 1
        self.sum += seconds


class Sheet(ctypes.Structure):
    """What one process writes."""

    pid: int
    began: float
    alive: float
    numbers: ctypes.Array[ctypes.c_int64]
    told: ctypes.Array[ctypes.c_int64]
    lag: Histogram
    arrival: Histogram
    turn_wait: Histogram
    lag_of_seconds: ctypes.Array[ctypes.c_double]
    seconds: int
    records_used: int
    records: ctypes.Array[UploadRecord]
    keys: ctypes.Array[ctypes.Array[ctypes.c_char]]

    _fields_ = [
        ("pid", ctypes.c_uint64),
        ("began", ctypes.c_double),
        ("alive", ctypes.c_double),  # when its loop last went round; 0 where nothing looks
        ("numbers", ctypes.c_int64 * len(NUMBERS)),
        ("told", ctypes.c_int64 * len(NUMBERS)),  # of these, by whoever holds Board.telling()
        ("lag", Histogram),
        ("arrival", Histogram),
        ("turn_wait", Histogram),
        ("lag_of_seconds", ctypes.c_double * LAG_SECONDS),  # a ring
        ("seconds", ctypes.c_uint64),  # that went into it so far
        ("records_used", ctypes.c_uint64),  # of the following, those ever used
        ("records", UploadRecord * RECORDS),
        # Those of upload_id.py, one for each record; zeros if the client chose no id. They lie
        # side by side so that one can be found without a look at each record.
        ("keys", ctypes.c_char * KEY_BYTES * RECORDS),
    ]

    def add(self, name: str, number: int = 1) -> None:
        """Add to one of the numbers."""
        self.numbers[_POSITIONS[name]] += number

    def number(self, name: str) -> int:
        """One of the numbers."""
        return self.numbers[_POSITIONS[name]]

    def untold(self, name: str) -> int:
        """By how much one of the numbers has grown since it was told."""
        position = _POSITIONS[name]
        return self.numbers[position] - self.told[position]

    def tell(self, name: str, number: int) -> None:
        """Note that so much more was told of one of the numbers."""
        self.told[_POSITIONS[name]] += number

    def lag_of_last(self, seconds: int) -> list[float]:
        """The greatest lag in each of the last seconds, the latest last; at most LAG_SECONDS."""
        first = max(0, self.seconds - min(seconds, LAG_SECONDS))
        return [self.lag_of_seconds[n % LAG_SECONDS] for n in range(first, self.seconds)]

    def uploads(self) -> Iterator[UploadRecord]:
        """The records in use, of uploads that run and of the last that ended."""
        for position in range(self.records_used):
            record = self.records[position]
            if record.number:
                yield record

    def uploads_with(self, key: bytes) -> Iterator[UploadRecord]:
        """Copies of the records with that key, of uploads that run or have ended.

        Each is of one upload: a record that its process gives to another meanwhile is left out.
        One without an end may be further than it says; one with an end is complete.
        """
        for position in self._positions_to_look_at(key):
            copy = copy_of(self.records[position])
            if copy is not None and self.keys[position].raw == key:
                yield copy

    def _positions_to_look_at(self, key: bytes) -> Iterator[int]:
        """Those with the key a moment ago, and where the end of one and the next look like it."""
        keys = bytes(self.keys)
        found = keys.find(key)
        while found >= 0:
            yield found // KEY_BYTES
            found = keys.find(key, found + 1)

    def bury(self) -> None:
        """Account for the uploads of a process that has gone: they ended with it."""
        if not self.pid:
            return
        running = [record for record in self.uploads() if not record.ended]
        for record in running:
            self.add("bytes", record.received)
            end(record, "killed")
        # Those that had no record are in the gauge alone.
        self.add("killed", max(len(running), self.number("uploads")))
        for name in GAUGES:
            self.numbers[_POSITIONS[name]] = 0
        self.pid = 0
        self.alive = 0.0


def end(record: UploadRecord, ending: str) -> None:
    """Note how an upload ended."""
    record.ending = _POSITIONS[ending]
    record.ended = time.monotonic()


def ending_name(record: UploadRecord) -> str:
    """How an upload ended that has."""
    return NUMBERS[record.ending]


def copy_of(record: UploadRecord) -> UploadRecord | None:
    """A record as it is at one moment; None if another upload takes it over in this moment.

    It is written by another process meanwhile, which takes its number away first and sets the
    next one last.
    """
    number, ended = record.number, record.ended
    copy = UploadRecord.from_buffer_copy(record)
    copy.ended = ended  # which is written last, and may have been since it was read
    return copy if number and record.number == number else None


class Board:
    """The sheets of all processes of one server.

    sheets: how many there are. A process that finds none has one that nobody else sees.
    for_workers: of these, those that no process takes which was forked from one that counts. There
        may be any number of such processes, and the next worker is to find a sheet.
    """

    def __init__(self, sheets: int, for_workers: int = 0) -> None:
        memory = mmap.mmap(-1, sheets * ctypes.sizeof(Sheet))  # pages are taken when written to
        self._sheets: list[Sheet] = list((Sheet * sheets).from_buffer(memory))
        # Not flock(2), which those who inherit the file share.
        self._locks = _file_for_locks()
        self._own: Sheet | None = None
        self._for_workers = for_workers
        self._first = 0  # of those that this process may claim
        self._burying = new_lock()

    def claim(self) -> Sheet:
        """A sheet for this process, which goes on with the numbers that it finds there."""
        with self._burying:
            for position in range(self._first, len(self._sheets)):
                if self._lock(position):
                    sheet = self._sheets[position]
                    sheet.bury()
                    break
            else:
                sheet = Sheet()
            sheet.began = time.monotonic()
            sheet.seconds = 0
            sheet.pid = os.getpid()
            self._own = sheet
        return sheet

    def forget(self) -> None:
        """In a new process: the sheet that was claimed is its parent's, and so are its threads."""
        if self._own is not None:
            self._first = self._for_workers
        self._own = None
        self._burying = new_lock()

    def sheets(self) -> list[Sheet]:
        """All that were ever used, those of processes that have gone too."""
        # The threads of a process share its locks, and one of them is enough.
        if self._burying.acquire(False):
            try:
                self._bury_the_dead()
            finally:
                self._burying.release()
        used = [sheet for sheet in self._sheets if sheet.began]
        if self._own is not None and not any(sheet is self._own for sheet in used):
            used.append(self._own)
        return used

    def _bury_the_dead(self) -> None:
        for position, sheet in enumerate(self._sheets):
            # A process can't tell its own lock from none.
            if sheet.pid and sheet is not self._own and self._lock(position):
                sheet.bury()
                self._unlock(position)

    @contextlib.contextmanager
    def telling(self) -> Iterator[bool]:
        """While this process alone tells others what was counted; False if another one does."""
        position = len(self._sheets)  # behind those of the sheets
        alone = self._lock(position)
        try:
            yield alone
        finally:
            if alone:
                self._unlock(position)

    def _lock(self, position: int) -> bool:
        with contextlib.suppress(OSError):
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, position)
            return True
        return False

    def _unlock(self, position: int) -> None:
        fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, position)


def _file_for_locks() -> int:
    """A file without a name, and without content: its locks alone are used."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("cooperative_upload")
    # Python that was built for a glibc before 2.27, as those of conda and uv.
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())  # nothing is locked yet that this closing would unlock
