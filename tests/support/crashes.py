"""Processes that kill themselves before their n-th call of one of certain functions."""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import warnings
from collections.abc import Callable, Sequence
from typing import Any

Tell = Callable[[Any], None]


class Crashed:
    """What a process did until it was killed.

    told: what it had told, in order.
    ended: whether it came to its end, with fewer such calls.
    """

    def __init__(self, told: list[Any], ended: bool) -> None:
        self.told = told
        self.ended = ended


def crash_at(number: int, functions: Sequence[str], work: Callable[[Tell], object]) -> Crashed:
    """Fork a process that is killed with SIGKILL right before that call.

    functions: by dotted names ("os.link"), where whoever calls them looks them up.
    work: called with what tells the parent something, at once.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 and later: of threads that other tests have left. No child uses them.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        _work(number, functions, work, writing)
    os.close(writing)
    with open(reading, "rb") as lines:
        told = [json.loads(line) for line in lines]
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0, f"the process failed: {told}"
    return Crashed(told, not killed)


def _work(
    number: int, functions: Sequence[str], work: Callable[[Tell], object], writing: int
) -> None:
    """Never returns: what is behind the fork is the test's."""
    status = 1
    write = os.write
    exit_now = os._exit

    def tell(value: Any) -> None:
        write(writing, json.dumps(value).encode() + b"\n")

    try:
        _arm(number, functions)
        work(tell)
        status = 0
    except BaseException as error:
        tell(f"{type(error).__name__}: {error}")
    finally:
        exit_now(status)


def _arm(number: int, functions: Sequence[str]) -> None:
    calls_left = number

    def armed(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **more: Any) -> Any:
            nonlocal calls_left
            calls_left -= 1
            if calls_left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **more)

        return call

    for name in functions:
        path, _, attribute = name.rpartition(".")
        owner = _found(path)
        setattr(owner, attribute, armed(getattr(owner, attribute)))


def _found(path: str) -> Any:
    """A module, or a class of one."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        above, _, name = path.rpartition(".")
        return getattr(_found(above), name)
