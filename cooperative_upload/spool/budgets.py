"""How much of something may be held at once: numbers alone, from any thread.

A budget may be part of a larger one: what a request takes, its worker gives too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent.monkey import get_original

# A native lock also where gevent has patched the threading modules: the writing threads count too.
_allocate_lock: Callable[[], Any] = get_original("_thread", "allocate_lock")


class Budget:
    """most: what may be taken, in all.

    part_of: the budget that has to have it, too.
    """

    def __init__(self, most: int, part_of: Budget | None = None) -> None:
        self._most = most
        self._part_of = part_of
        self._taken = 0
        self._lock = _allocate_lock()

    @property
    def taken(self) -> int:
        """What is not given back."""
        return self._taken

    def take(self, amount: int) -> bool:
        """Whether there was so much; if not, nothing is taken anywhere."""
        with self._lock:
            if self._taken + amount > self._most:
                return False
            self._taken += amount
        if self._part_of is None or self._part_of.take(amount):
            return True
        with self._lock:
            self._taken -= amount
        return False

    def give_back(self, amount: int) -> None:
        """It is not held any more."""
        with self._lock:
            self._taken -= amount
        if self._part_of is not None:
            self._part_of.give_back(amount)
