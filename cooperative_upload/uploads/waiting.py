"""Waiting and working beside a request, with a hub or without one."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable
from typing import Any

import gevent

from ..hub import current_hub


def sleep(seconds: float) -> None:
    """Let others run for so long."""
    if current_hub() is None:
        time.sleep(seconds)
    else:
        gevent.sleep(seconds)


def wait_until(condition: Callable[[], bool], seconds: float, every: float = 0.01) -> bool:
    """Whether the condition came true in that time."""
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            return False
        sleep(every)
    return True


def start(function: Callable[..., object], *args: Any) -> Any:
    """Run it beside the request, in a greenlet that knows nothing of it; at once without a hub.

    It may outlive the request, whose settings, spools and numbers end with it.
    """
    if current_hub() is None:
        function(*args)
        return None
    return contextvars.Context().run(gevent.spawn, function, *args)
