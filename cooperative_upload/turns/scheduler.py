"""The turns of one hub: who may work on a request body, and for how long.

The rules:

1. One turn at a time. One greenlet of the hub works on a request body (reads, parses, writes);
   the others wait in line, first come, first served. A turn lasts one slice. Behind the line stand
   those of whose work nobody waits for the end.
2. Everyone else first. Between two turns the loop goes round once, and all that is ready there
   (sockets, timers, callbacks, new connections) runs before the next turn begins.
3. No turn is held while waiting. A turn ends the moment its holder lets go of the loop, for
   whatever reason: its slice is used up, the socket has no data, the disk is busy, the
   application asks a database between two reads.

How it works. A turn *is* one switch from the hub into the greenlet at the head of the line.
When that greenlet lets go of the loop, by whatever call, control comes back right behind the
switch, and the turn is over. So nothing has to be released, a dead or a killed holder can't
block the line, and a greenlet that comes back from somewhere else finds that it has no turn and
queues.

The switch is made by a watcher that is active while somebody waits: an idle watcher at the
loop's lowest priority, which libev runs only in a round in which nothing else was ready. Work
that never ceases could keep it from ever running, so a timer beside it grants a turn after a
deadline all the same. Yields that look simpler are worse: gevent.sleep(0) returns before the
loop has polled its sockets, a timer of 0 is rounded up to 1 ms about half the time, and a
semaphore gives itself back to whoever released it.

libuv knows no priorities and runs idle watchers once in every round, before it polls. There the
line moves one turn in each round whether or not others are busy: rules 1 and 3 hold as they are,
and of rule 2 that all who were ready in the last round have run.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from gevent import getcurrent
from gevent.hub import Hub

from ..hub import current_hub
from ..monitoring import State, count, spending
from ..settings import UploadSettings

# Where a hub keeps its scheduler: it ends with its hub, and each thread finds its own.
_ATTRIBUTE = "cooperative_upload_scheduler"

# Turns of the line for one of those who stand last: to throw away 64 KiB takes 8 microseconds, and
# a slice 500.
_MOST_PASSED_BY = 15


@dataclass(frozen=True)
class SchedulerStatistics:
    """What one hub's scheduler has done so far.

    turns: turns granted.
    waits: times that a greenlet stood in line, whether it got its turn or was killed there.
    grants_by_deadline: how many of the turns the deadline granted because the loop was busy.
    queue_length: greenlets that stand in line now.
    longest_queue: the most that ever stood in line at once.
    longest_slice: seconds of the longest turn. A turn is measured until its holder lets go of
        the loop, so it shows an application that works long between two reads.
    """

    turns: int
    waits: int
    grants_by_deadline: int
    queue_length: int
    longest_queue: int
    longest_slice: float


class Scheduler:
    """The turns of one hub. Use current_scheduler() to get it.

    hub: whose greenlets take turns; only the thread of that hub may call any method.
    slice_seconds: how long a turn lasts before checkpoint() hands it on.
    deadline_seconds: how long a busy loop can keep the next turn waiting.
    """

    def __init__(self, hub: Hub, slice_seconds: float, deadline_seconds: float) -> None:
        loop: Any = hub.loop
        self._loop = loop
        self._hub = hub
        self._slice = slice_seconds
        self._idle: Any = loop.idle(priority=loop.MINPRI)
        self._deadline: Any = loop.timer(deadline_seconds, deadline_seconds, priority=loop.MINPRI)
        self._line: deque[Any] = deque()
        self._last: deque[Any] = deque()  # behind all of the line
        self._passed_by = 0  # turns of the line since one of those
        self._holder: Any = None
        self._slice_ends = 0.0
        self._turns = 0
        self._waits = 0
        self._grants_by_deadline = 0
        self._longest_queue = 0
        self._longest_slice = 0.0

    @property
    def has_turn(self) -> bool:
        """Whether the running greenlet has the turn."""
        return self._holder is getcurrent()

    @property
    def rounds(self) -> int:
        """How often the loop has gone round: who waits for it does not find the same number.

        libuv does not tell, and has the same number all the time.
        """
        rounds: int = self._loop.iteration
        return rounds

    def checkpoint(self) -> None:
        """Go on with a turn: at once while the slice lasts, else from the end of the line.

        Called before each block of work on a body. Raises whatever is thrown into the waiting
        greenlet (GreenletExit, gevent.Timeout); it has then left the line.
        """
        greenlet = getcurrent()
        if self._holder is greenlet and time.perf_counter() < self._slice_ends:
            return
        self._wait_in_line(greenlet, self._line)

    def checkpoint_within_turn(self) -> None:
        """As checkpoint(), but for work that need not belong to an upload: without a turn, go on.

        For steps that large and small bodies share, where a small one should not stand in line.
        """
        if self.has_turn:
            self.checkpoint()

    def stand_last(self) -> None:
        """Go on with a turn behind all who stand in line, also while the slice lasts.

        For work of which nobody waits for the end. So that it has one at all, every sixteenth
        turn is that of who stands here longest.
        """
        self._wait_in_line(getcurrent(), self._last)

    def statistics(self) -> SchedulerStatistics:
        """A snapshot of the counters."""
        return SchedulerStatistics(
            turns=self._turns,
            waits=self._waits,
            grants_by_deadline=self._grants_by_deadline,
            queue_length=len(self._line) + len(self._last),
            longest_queue=self._longest_queue,
            longest_slice=self._longest_slice,
        )

    def _wait_in_line(self, greenlet: Any, line: deque[Any]) -> None:
        line.append(greenlet)
        self._waits += 1
        self._longest_queue = max(self._longest_queue, len(self._line) + len(self._last))
        if not self._idle.active:
            self._idle.start(self._grant)
            self._deadline.again(self._grant_by_deadline)
        try:
            with spending(State.WAITING_FOR_ITS_TURN, "waited_for_turns"):
                self._hub.switch()
                while self._holder is not greenlet:  # switched to by somebody else: still in line
                    self._hub.switch()
        except BaseException:
            line.remove(greenlet)
            if not self._somebody_waits:
                self._stop_watching()
            raise

    @property
    def _somebody_waits(self) -> bool:
        return bool(self._line or self._last)

    def _next(self) -> Any:
        """Who has the next turn; no more in line."""
        if self._last and (not self._line or self._passed_by == _MOST_PASSED_BY):
            self._passed_by = 0
            return self._last.popleft()
        self._passed_by = self._passed_by + 1 if self._last else 0
        return self._line.popleft()

    def _grant_by_deadline(self) -> None:
        self._grants_by_deadline += 1
        count("grants_by_deadline")
        self._grant()

    def _grant(self) -> None:
        """Run one turn. Called by the loop, so in the hub, and only while somebody waits."""
        greenlet = self._next()
        self._turns += 1
        count("turns")
        self._holder = greenlet
        began = time.perf_counter()
        self._slice_ends = began + self._slice
        try:
            greenlet.switch()
        except BaseException:
            # A raw greenlet ended by an exception delivers it to its parent, the hub, which is
            # here. It is reported as the hub reports those of its own callbacks.
            self._hub.handle_error(greenlet, *sys.exc_info())
        self._holder = None
        self._longest_slice = max(self._longest_slice, time.perf_counter() - began)
        if self._somebody_waits:
            # again(), not start(): a stopped timer that is started goes on with what was left.
            self._deadline.again(self._grant_by_deadline)
        else:
            self._stop_watching()

    def _stop_watching(self) -> None:
        self._idle.stop()
        self._deadline.stop()


def current_scheduler(settings: UploadSettings) -> Scheduler | None:
    """The scheduler of the hub that runs the current greenlet; None where no hub does.

    The first caller's settings give the hub's slice and deadline.
    """
    hub = current_hub()
    return None if hub is None else scheduler_of(hub, settings)


def scheduler_of(hub: Hub, settings: UploadSettings) -> Scheduler:
    """As current_scheduler(), for who knows the hub."""
    scheduler: Scheduler | None = hub.__dict__.get(_ATTRIBUTE)
    if scheduler is None:
        scheduler = Scheduler(hub, settings.slice_ms / 1000, settings.deadline_ms / 1000)
        hub.__dict__[_ATTRIBUTE] = scheduler
    return scheduler
