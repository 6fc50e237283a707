"""Which gevent hub runs the current greenlet, asked without making one."""

from __future__ import annotations

from typing import Any

from gevent import getcurrent
from gevent.hub import Hub


def current_hub() -> Hub | None:
    """The hub that runs the current greenlet; None where none does. Never creates one."""
    greenlet: Any = getcurrent().parent
    while greenlet is not None and not isinstance(greenlet, Hub):
        greenlet = greenlet.parent
    return greenlet
