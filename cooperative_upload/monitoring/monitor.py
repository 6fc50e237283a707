"""What this process tells of its uploads: how many there are, how far they are, how they ended.

Those above report here; this module asks nobody. It writes to the process's sheet of the board,
always, and cheaply: two or three numbers for each block of a body. There is one count for each
body, that of its ending.

Who reads it: upload_statistics() for this process, overview.py for all that share its board.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from typing import Any

from gevent import getcurrent

from .board import (
    CLIENT_BYTES,
    DURATION_BOUNDS,
    METHOD_BYTES,
    MOST_EXPECTED,
    NUMBERS,
    PATH_BYTES,
    RECORDS,
    Board,
    Sheet,
    State,
    UploadRecord,
    end,
    new_lock,
)
from .upload_id import KEY_BYTES, key_of

# Seconds for which an upload that has ended can still be asked about, if there are records enough.
KEPT_SECONDS = 60.0

# Sheets beyond two for each worker, which a reload needs: for workers added while it runs, and for
# what applications fork.
_MORE_SHEETS = 16

# The share of the last second in the rate that is told.
_RATE_WEIGHT = 0.5


class Upload:
    """One request with a body, as it is told to others while it runs.

    expected: bytes of the body; None where the framing does not announce them.
    chosen_id: the id that the client asks by; empty for none.
    """

    def __init__(
        self, method: str, path: str, client: str, expected: int | None, chosen_id: str = ""
    ) -> None:
        self._process = process = _this_process()
        self._position = process.take_position()
        self._sampled = 0  # bytes that are in the rate
        self.method = method
        self.path = path
        self.client = client
        self.record = record = process.record(self._position)
        number, record.number = record.number + 1, 0  # nobody looks at it until it is complete
        record.state = State.READING
        record.draining = record.received = record.ending = record.status = 0
        record.expected = -1 if expected is None else min(expected, MOST_EXPECTED)
        record.rate = record.arrived = record.ended = 0.0
        record.waited_for_turns = record.waited_for_client = record.waited_for_disk = 0.0
        process.write_key(self._position, key_of(chosen_id))
        record.client = client.encode()[:CLIENT_BYTES]
        record.method = method.encode()[:METHOD_BYTES]
        record.path = path.encode("utf-8", "surrogateescape")[:PATH_BYTES]
        record.began = time.monotonic()
        record.number = number
        process.sheet.add("uploads")

    def client_is(self, address: str) -> None:
        """Note the client's address, where it is known better than in the beginning."""
        if address == self.client:
            return
        self.client = address
        number, self.record.number = self.record.number, 0  # nobody reads half of each
        self.record.client = address.encode()[:CLIENT_BYTES]
        self.record.number = number

    def running(self) -> contextlib.AbstractContextManager[None]:
        """While the current greenlet runs the request: what it waits for is on its account."""
        return _Running(self, self._process.running)

    @property
    def seconds_to_arrive(self) -> float:
        """From the headers to the last byte; until now, or to the end, if that has not come."""
        record = self.record
        until: float = record.arrived or record.ended or time.monotonic()
        return until - float(record.began)

    def ended(self, ending: str, status: int = 0) -> None:
        """Count how the body ended. To be called once.

        ending: one of ENDINGS.
        status: of the response; 0 if there was none.
        """
        forked = self._process is not _process  # from the one that runs the upload, and counts it
        record, sheet = self.record, self._process.sheet
        if forked:
            record = UploadRecord.from_buffer_copy(record)
        record.status = status
        end(record, ending)
        self.record = UploadRecord.from_buffer_copy(record)  # the other is for the next upload
        if forked:
            return
        sheet.add(ending)
        sheet.add("bytes", record.received)
        sheet.add("uploads", -1)
        sheet.arrival.observe(DURATION_BOUNDS, self.seconds_to_arrive)
        sheet.turn_wait.observe(DURATION_BOUNDS, record.waited_for_turns)
        self._process.give_back(self._position)

    def sample_rate(self, seconds: float) -> None:
        """Note the rate of so many seconds, those since the last time."""
        record = self.record
        received = record.received
        rate = (received - self._sampled) / seconds
        record.rate += (rate - record.rate) * (_RATE_WEIGHT if self._sampled else 1)
        self._sampled = received


class _Running:
    """While a greenlet runs the request of an upload.

    running: the upload of each greenlet.
    """

    __slots__ = ("_before", "_greenlet", "_running", "_upload")

    def __init__(self, upload: Upload, running: dict[Any, Upload]) -> None:
        self._upload = upload
        self._running = running

    def __enter__(self) -> None:
        self._greenlet = getcurrent()
        self._before = self._running.get(self._greenlet)
        self._running[self._greenlet] = self._upload

    def __exit__(self, *exc: object) -> None:
        # Responses that are closed late, or by others, end in any order.
        if self._running.get(self._greenlet) is self._upload:
            del self._running[self._greenlet]
            if self._before is not None and not self._before.record.ended:
                self._running[self._greenlet] = self._before


class _Process:
    """The sheet of this process, and which of its records are free."""

    def __init__(self, board: Board) -> None:
        self.sheet: Sheet = board.claim()
        self.numbers_before = list(self.sheet.numbers)
        self.running: dict[Any, Upload] = {}  # by greenlet
        self._taking = new_lock()  # for applications with a hub in each of several threads
        # Those that somebody may ask for, and those that nobody can.
        self._free_with_id: deque[int] = deque()
        self._free_without_id: deque[int] = deque()
        used = range(self.sheet.records_used)
        for position in sorted(used, key=lambda position: self.record(position).ended):
            self.give_back(position)

    def record(self, position: int | None) -> UploadRecord:
        """The record in that position; one that nobody else sees for None."""
        if position is None:
            return UploadRecord()
        record: UploadRecord = self.sheet.records[position]
        return record

    def write_key(self, position: int | None, key: bytes) -> None:
        """Have the record in that position found by that key, or by none if it is empty."""
        if position is not None:
            self.sheet.keys[position].raw = key.ljust(KEY_BYTES, b"\0")

    def take_position(self) -> int | None:
        """That of a record that ended long ago, else a new one, else of those that have ended.

        One without an id comes before those with one, of which somebody may still ask how the
        upload ended; of each kind that which ended first. None if all run.
        """
        long_ago = time.monotonic() - KEPT_SECONDS
        with self._taking:
            for free in (self._free_without_id, self._free_with_id):
                if free and self.record(free[0]).ended < long_ago:
                    return free.popleft()
            used: int = self.sheet.records_used
            if used < RECORDS:
                self.sheet.records_used += 1
                return used
            free = self._free_without_id or self._free_with_id
            return free.popleft() if free else None

    def give_back(self, position: int | None) -> None:
        if position is None:
            return
        has_id = any(self.sheet.keys[position].raw)
        (self._free_with_id if has_id else self._free_without_id).append(position)


_board: Board | None = None
_board_is_shared = False
_process: _Process | None = None
_beginning = new_lock()


def share_statistics(workers: int = 1) -> None:
    """Have all processes that are forked from now on count on one board.

    To be called before the server forks: in gunicorn.conf.py, for a worker class that is not
    ours, which does so itself. Calling it once more changes nothing.

    workers: how many there will be, about.
    """
    global _board, _board_is_shared, _process
    with _beginning:
        if not _board_is_shared:
            _board = Board(2 * workers + _MORE_SHEETS, for_workers=2 * workers)
            _board_is_shared = True
            _process = None  # what it has counted alone until now is not told to all


def current_board() -> Board:
    """The board that this process counts on, if it counts: to look at it makes no worker."""
    global _board
    with _beginning:
        if _board is None:
            _board = Board(1)
        return _board


def current_sheet() -> Sheet:
    """The sheet of this process."""
    return _this_process().sheet


def running_uploads() -> list[Upload]:
    """Those of this process."""
    return list(_this_process().running.values())


def count(name: str, number: int = 1) -> None:
    """Add to one of the numbers."""
    _this_process().sheet.add(name, number)


def upload_statistics() -> dict[str, int]:
    """What this process has counted, by the names in ENDINGS, EVENTS and GAUGES."""
    process = _this_process()
    pairs = zip(process.sheet.numbers, process.numbers_before, strict=True)
    return {name: now - before for name, (now, before) in zip(NUMBERS, pairs, strict=True)}


class spending:
    """While the current greenlet waits for something: its upload's state, and the seconds."""

    __slots__ = ("_account", "_began", "_record", "_state")

    def __init__(self, state: int, account: str) -> None:
        self._state = state
        self._account = account

    def __enter__(self) -> None:
        upload = None if _process is None else _process.running.get(getcurrent())
        self._record = None if upload is None else upload.record
        if self._record is not None:
            self._began = time.monotonic()
            self._record.state = self._state

    def __exit__(self, *exc: object) -> None:
        record = self._record
        if record is not None:
            record.state = State.READING
            spent = time.monotonic() - self._began
            setattr(record, self._account, getattr(record, self._account) + spent)


def _this_process() -> _Process:
    global _process
    if _process is None:
        board = current_board()
        with _beginning:
            if _process is None:
                _process = _Process(board)
    return _process


def _begin_anew() -> None:
    """In a forked process: the sheet is the parent's, and so is a board that is not shared."""
    global _beginning, _board, _process
    _beginning = new_lock()
    _process = None
    if _board is not None and _board_is_shared:
        _board.forget()
    else:
        _board = None


os.register_at_fork(after_in_child=_begin_anew)
