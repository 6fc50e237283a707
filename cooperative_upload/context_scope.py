"""ContextScope: what holds in a context while a block runs, wherever that block ends.

A WSGI response may be closed in another context than it was begun in: an ASGI bridge or an
instrumented server goes through contextvars.copy_context().run(), and a copy can outlive the
request. The token of a ContextVar can't be reset there (ValueError), and no other context can be
reached from there either. So a value is not taken away but ended: whoever finds one that has
ended, in whichever copy, goes on to the one that held before.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import Generic, TypeVar

T = TypeVar("T")


class _Held(Generic[T]):
    """A value, and what held before it; without the value once its block has ended."""

    __slots__ = ("before", "value")

    def __init__(self, value: T, before: _Held[T] | None) -> None:
        self.value: T | None = value
        self.before = before


class ContextScope(Generic[T]):
    """name: of the ContextVar below it."""

    def __init__(self, name: str) -> None:
        self._variable: ContextVar[_Held[T] | None] = ContextVar(name, default=None)

    def get(self) -> T | None:
        """The value of the innermost block that runs; None outside of all."""
        held = self._running()
        return None if held is None else held.value

    def holding(self, value: T) -> contextlib.AbstractContextManager[None]:
        """Have get() return that value, in this context and its copies, while the block runs."""
        return _Holding(self, value)

    def _running(self) -> _Held[T] | None:
        held = self._variable.get()
        while held is not None and held.value is None:
            held = held.before
        return held


class _Holding(Generic[T]):
    """A block. No generator: each waiting upload is in several, and one holds 350 bytes."""

    __slots__ = ("_held", "_scope", "_value")

    def __init__(self, scope: ContextScope[T], value: T) -> None:
        self._scope = scope
        self._value = value

    def __enter__(self) -> None:
        self._held = _Held(self._value, self._scope._running())
        self._scope._variable.set(self._held)

    def __exit__(self, *exc: object) -> None:
        held = self._held
        held.value = None
        if self._scope._variable.get() is held:
            self._scope._variable.set(held.before)
