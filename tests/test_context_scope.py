"""What holds in a context while a block runs, also if it ends in another one."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import itertools
import threading
import weakref

import pytest

from cooperative_upload.context_scope import ContextScope


def test_blocks_within_blocks() -> None:
    """The innermost holds, and nothing behind them; also where one ends by an error."""
    scope: ContextScope[str] = ContextScope("test")
    assert scope.get() is None
    with scope.holding("outer"):
        with contextlib.suppress(OSError), scope.holding("inner"):
            assert scope.get() == "inner"
            raise OSError
        assert scope.get() == "outer"
    assert scope.get() is None


@pytest.mark.parametrize("order", [*itertools.permutations("abc")])
def test_blocks_that_end_in_any_order(order: tuple[str, ...]) -> None:
    """What holds is the last begun of those that run."""
    scope: ContextScope[str] = ContextScope("test")
    blocks = {name: scope.holding(name) for name in "abc"}
    for block in blocks.values():
        block.__enter__()
    left = ["a", "b", "c"]
    for name in order:
        blocks[name].__exit__(None, None, None)
        left.remove(name)
        assert scope.get() == (left[-1] if left else None)


def test_a_block_that_ends_in_another_context() -> None:
    """It has ended in all of them: in that one, in its own, and in copies made meanwhile."""
    scope: ContextScope[str] = ContextScope("test")
    with scope.holding("outer"):
        block = scope.holding("inner")
        block.__enter__()
        copy = contextvars.copy_context()
        other = contextvars.copy_context()
        other.run(block.__exit__, None, None, None)
        assert (other.run(scope.get), copy.run(scope.get), scope.get()) == ("outer",) * 3
    assert copy.run(scope.get) is None


def test_a_block_that_ends_in_a_thread() -> None:
    """Whose context is empty."""
    scope: ContextScope[str] = ContextScope("test")
    block = scope.holding("value")
    block.__enter__()
    thread = threading.Thread(target=block.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    assert scope.get() is None


def test_what_has_ended_is_not_kept() -> None:
    """Neither by a context that lives on, nor by requests that begin before another has ended."""

    class Value:
        pass

    scope: ContextScope[Value] = ContextScope("test")
    value = Value()
    reference = weakref.ref(value)
    with scope.holding(value):
        copy = contextvars.copy_context()
    del value
    gc.collect()
    assert reference() is None
    assert copy.run(scope.get) is None
    blocks = [scope.holding(Value()) for _ in range(2)]
    for block, ended in zip(blocks[1:], blocks, strict=False):
        ended.__enter__()
        block.__enter__()
        ended.__exit__(None, None, None)
    blocks[-1].__exit__(None, None, None)
    assert scope.get() is None
