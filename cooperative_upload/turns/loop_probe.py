"""The lag of an event loop: how late it is, and who holds it.

A timer measures by how much it comes too late: that is what every socket and every other timer
of the loop waits too. While nobody lets the loop go round no timer can tell, so a thread looks on
and takes the stack of who holds it, be it an upload, a view that computes, or a library that
blocks. gevent's own monitor thread does not do: it counts switches, and a loop that spins makes
many.

A thread's main greenlet is no such holder. On a server it waits for the loop's end and does
nothing else; where it does something else, it is a program or a test that uses gevent now and
then, and the loop is not to go round meanwhile.

One warning a minute, for all there may be: an application that blocks does so often. It is written
when the loop is free again and the length is known, or by the thread where that takes too long,
since the worker may be killed before.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

from gevent import get_hub
from gevent.hub import Hub
from gevent.monkey import get_original

from ..monitoring import LAG_BOUNDS, LAG_SECONDS, count, current_sheet, running_uploads
from ..settings import UploadSettings

_ATTRIBUTE = "cooperative_upload_loop_probe"

_ONE_WARNING_IN = 60.0  # seconds
_STILL_HELD_AFTER = 5.0  # seconds; gunicorn kills a worker whose loop stands still after 30
_MOST_FRAMES = 20

# Native also where gevent has patched the modules.
_start_thread: Callable[..., Any] = get_original("_thread", "start_new_thread")
_get_thread: Callable[[], int] = get_original("_thread", "get_ident")
_sleep: Callable[[float], None] = get_original("time", "sleep")

Warn = Callable[[str], object]


class LoopProbe:
    """Watches the loop of one hub for as long as there is the hub.

    hub: that of the thread that makes this.
    settings: how often to look, and from when on to warn.
    warn: writes one warning; called from another thread too.
    """

    def __init__(self, hub: Hub, settings: UploadSettings, warn: Warn) -> None:
        loop: Any = hub.loop
        self._interval = settings.loop_probe_ms / 1000
        # It alone does not keep a loop running.
        self._timer: Any = loop.timer(self._interval, self._interval, ref=False)
        self._second_ends = 0.0
        self._greatest_lag = 0.0  # of this second
        self._onlooker: _Onlooker | None = None
        if settings.loop_blocked_ms:
            self._onlooker = _Onlooker(hub, settings.loop_blocked_ms / 1000, warn)
        self._due = 0.0

    def start(self) -> None:
        now = current_sheet().alive = time.monotonic()
        self._second_ends = now + 1
        self._expect_timer(now)
        if self._onlooker is not None:
            self._onlooker.start()

    def __del__(self) -> None:
        if self._onlooker is not None:
            self._onlooker.ended = True

    def _expect_timer(self, now: float) -> None:
        self._due = now + self._interval
        if self._onlooker is not None:
            self._onlooker.due = self._due
        # From now on: the loop's own idea of the time is that of before the slice that has ended.
        self._timer.again(self._timer_came, update=True)

    def _timer_came(self) -> None:
        sheet = current_sheet()  # not that of before a fork, behind which a loop can go on
        now = sheet.alive = time.monotonic()
        lag = max(0.0, now - self._due)
        sheet.lag.observe(LAG_BOUNDS, lag)
        self._greatest_lag = max(self._greatest_lag, lag)
        if self._onlooker is not None and self._onlooker.was_blocked(lag):
            count("loop_blocked")
        if now >= self._second_ends:
            self._end_seconds(1 + int(now - self._second_ends))
        self._expect_timer(now)

    def _end_seconds(self, passed: int) -> None:
        """Keep the greatest lag, for each second in which the loop stood still too."""
        sheet = current_sheet()
        for _ in range(min(passed, LAG_SECONDS)):
            sheet.lag_of_seconds[sheet.seconds % LAG_SECONDS] = self._greatest_lag
            sheet.seconds += 1
        self._greatest_lag = 0.0
        self._second_ends += passed
        for upload in running_uploads():
            upload.sample_rate(passed)


class _Onlooker:
    """A thread that sees who holds the loop of the thread in which this is made.

    hub: that of the thread.
    due: when the loop is to have gone round.
    ended: there is no loop any more.
    """

    def __init__(self, hub: Hub, blocked_seconds: float, warn: Warn) -> None:
        self.due = 0.0
        self.ended = False
        self._main = _main_greenlet(hub)
        self._left_at = 0.0  # the `due` at which the main greenlet was seen outside of the loop
        self._blocked_seconds = blocked_seconds
        self._warn = warn
        self._thread = _get_thread()
        self._seen: _Seen | None = None
        self._warnings = _OneAMinute()
        self._warnings_while_held = _OneAMinute()

    def start(self) -> None:
        _start_thread(self._look_on, ())

    def was_blocked(self, lag: float) -> bool:
        """Whether somebody held the loop that was so late; if so, warn."""
        if lag < self._blocked_seconds or self._left_at == self.due:
            return False
        self._tell(self._warnings, f"held the event loop for {lag:.1f} s", self.due)
        return True

    def _look_on(self) -> None:
        while not self.ended:
            _sleep(self._blocked_seconds / 4)
            due = self.due
            held = time.monotonic() - due
            if held < self._blocked_seconds:
                continue
            frame = sys._current_frames().get(self._thread)
            if frame is None:
                return  # the thread has ended, and its loop with it
            if self._main.gr_frame is None:  # it runs: one that waits for the loop has a frame
                self._left_at = due
            elif self._seen is None or self._seen.due != due:
                self._seen = _Seen(due, held, _places(frame))
            elif held > max(_STILL_HELD_AFTER, self._blocked_seconds) and not self._seen.told:
                self._seen.told = True
                what = f"has held the event loop for {held:.1f} s, and still does"
                self._tell(self._warnings_while_held, what, due)

    def _tell(self, warnings: _OneAMinute, what: str, due: float) -> None:
        unsaid = warnings.unsaid
        if not warnings.may_be_said():
            return
        more = f" So it was {unsaid} more times since the last such warning." if unsaid else ""
        seen = self._seen
        who = str(seen) if seen is not None and seen.due == due else "It was not seen who it was."
        self._warn(f"A greenlet {what}; nobody else ran meanwhile.{more} {who}")


class _OneAMinute:
    """Of many warnings one a minute; unsaid: how many were left out since the last."""

    def __init__(self) -> None:
        self._said = -_ONE_WARNING_IN
        self.unsaid = 0

    def may_be_said(self) -> bool:
        now = time.monotonic()
        if now - self._said < _ONE_WARNING_IN:
            self.unsaid += 1
            return False
        self._said, self.unsaid = now, 0
        return True


class _Seen:
    """Who held the loop.

    due: when the loop was to have gone round.
    held: seconds for which it had been held.
    places: the stack, as (file, line, function), the innermost first; empty for no greenlet.
    """

    def __init__(self, due: float, held: float, places: list[tuple[str, int, str]]) -> None:
        self.due = due
        self.told = False
        self._held = held
        self._places = places

    def __str__(self) -> str:
        if not self._places:
            return "No greenlet was running: the process did not get the processor."
        places = [(*place, None) for place in reversed(self._places[:_MOST_FRAMES])]
        lines = traceback.StackSummary.from_list(places).format()
        return f"Its stack after {self._held:.1f} s:\n" + "".join(lines).rstrip()


def _main_greenlet(hub: Hub) -> Any:
    """The greenlet that its thread began with."""
    top: Any = hub
    while top.parent is not None:
        top = top.parent
    return top


def _places(frame: FrameType | None) -> list[tuple[str, int, str]]:
    """The stack as it is now: what reads the source lines as well would let the loop go on."""
    places = []
    while frame is not None:
        if frame.f_code is Hub.run.__code__:
            return []
        places.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return places


def watch_loop(settings: UploadSettings, warn: Warn) -> None:
    """Have the loop of the current hub watched from now on, unless the settings say no."""
    hub = get_hub()
    if settings.loop_probe_ms and _ATTRIBUTE not in hub.__dict__:
        probe = hub.__dict__[_ATTRIBUTE] = LoopProbe(hub, settings, warn)
        probe.start()
