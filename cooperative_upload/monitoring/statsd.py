"""Numbers for statsd, through gunicorn's own --statsd-host.

With that option gunicorn's logger sends datagrams to a statsd server, and offers the methods for
others to do so; prefix and tags are its affair. Without the option, or with a logger that has no
such methods, nothing here does anything.

What is counted is taken from the board: whichever worker comes first sends by how much the numbers
of all have grown since one of them did. So nothing is sent twice, and what a worker had counted
that was killed is sent by another.

What the kernel knows to fail, or to block, is not tried: gunicorn would write a traceback for each
datagram to a server that is away, and wait for ever for one behind a Unix socket that does not
read. Its own datagrams do so, but for the waiting, which is cut short.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from gevent.monkey import get_original

from .board import ENDINGS, EVENTS, Sheet
from .monitor import Upload, current_board

_PREFIX = "gunicorn.upload."

# By the names in ENDINGS and EVENTS.
COUNTERS = {
    **{name: f"{_PREFIX}ended.{name}" for name in ENDINGS},
    **{name: _PREFIX + name for name in EVENTS},
}

# A gauge keeps its last value alone until statsd passes it on, which it does every 10 s.
_SECONDS_OF_LAG = 10

_SECONDS_BETWEEN = 1.0

# For which a datagram of gunicorn's own may hold the loop where a Unix socket's queue is full. The
# kernel may keep no more than ten, and a server that reads them does so well within that.
_LONGEST_WAIT = 0.01

# What is left at the end may be more than such a queue takes at once.
_TRIES_AT_THE_END = 50
_SECONDS_BETWEEN_TRIES = 0.01

# What a logger has that sends.
_METHODS = ("gauge", "increment", "timer")

# The one that asks at once, also where gevent has patched the module.
_poll: Callable[[], Any] = get_original("select", "poll")


@contextlib.contextmanager
def telling_statsd(log: Any) -> Iterator[None]:
    """Send the numbers each second within the block, and what is left at its end."""
    if not _sends(log):
        yield
        return
    _limit_waiting(log)
    greenlet = gevent.spawn(_send_each_second, log)
    try:
        yield
    finally:
        greenlet.kill(block=False)
        _send_the_rest(log)


def send_ended(log: Any, upload: Upload) -> None:
    """Send how long an upload took that has ended, and what it waited for."""
    if not _sends(log):
        return
    record = upload.record
    for name, seconds in (
        ("arrival", upload.seconds_to_arrive),
        ("turn_wait", record.waited_for_turns),
        ("client_wait", record.waited_for_client),
        ("disk_wait", record.waited_for_disk),
    ):
        if _is_ready(log):
            log.timer(_PREFIX + name, _milliseconds(seconds))


def send_numbers(log: Any) -> bool:
    """Send by how much the counters have grown, and how things are now, of all workers.

    Returns False if something may be left, because another worker sends at this moment, or the
    server does not read.
    """
    board = current_board()
    with board.telling() as alone:
        if not alone:
            return False
        sheets = board.sheets()
        nothing_left = _send_counters(log, sheets)
        _send_gauges(log, sheets)
        return nothing_left


def _send_each_second(log: Any) -> None:
    while True:
        gevent.sleep(_SECONDS_BETWEEN)
        send_numbers(log)


def _send_the_rest(log: Any) -> None:
    # Who sends now may have passed over what this process counted last, and be the last itself.
    for _ in range(_TRIES_AT_THE_END):
        if send_numbers(log):
            return
        gevent.sleep(_SECONDS_BETWEEN_TRIES)


def _send_counters(log: Any, sheets: list[Sheet]) -> bool:
    """Whether all were sent; those that were not are kept for the next time."""
    for name, metric in COUNTERS.items():
        growth = [sheet.untold(name) for sheet in sheets]
        if not any(growth):
            continue
        if not _is_ready(log):
            return False
        log.increment(metric, sum(growth))
        for sheet, number in zip(sheets, growth, strict=True):
            sheet.tell(name, number)
    return True


def _send_gauges(log: Any, sheets: list[Sheet]) -> None:
    for name, value in _gauges([sheet for sheet in sheets if sheet.pid]):
        if _is_ready(log):
            log.gauge(_PREFIX + name, value)


def _gauges(running: list[Sheet]) -> Iterator[tuple[str, float]]:
    """Of all workers: what one of them sends replaces what another has sent."""
    yield "in_progress", sum(sheet.number("uploads") for sheet in running)
    yield "lingering", sum(sheet.number("lingering") for sheet in running)
    watched = [sheet for sheet in running if sheet.alive]
    if watched:
        lags = (lag for sheet in watched for lag in sheet.lag_of_last(_SECONDS_OF_LAG))
        yield "loop_lag_max", _milliseconds(max(lags, default=0.0))
        now = time.monotonic()
        yield "loop_silent_max", _milliseconds(max(now - sheet.alive for sheet in watched))


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _sends(log: Any) -> bool:
    """Whether it can send at all. gunicorn's has no socket where it could not connect it."""
    can_send = all(callable(getattr(log, method, None)) for method in _METHODS)
    return can_send and getattr(log, "sock", True) is not None


def _limit_waiting(log: Any) -> None:
    sock = getattr(log, "sock", None)
    if sock is not None:
        sock.settimeout(_LONGEST_WAIT)


def _is_ready(log: Any) -> bool:
    """Whether a datagram can go out now, as far as the kernel knows."""
    sock = getattr(log, "sock", None)
    if sock is None:
        return True
    try:
        sock.getpeername()  # fails once a Unix socket's server was found to be gone
        # Takes the refusal of an earlier datagram off the socket, or the next would fail by it.
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except OSError:
        return False
    poll = _poll()
    poll.register(sock, select.POLLOUT)
    return bool(poll.poll(0))
