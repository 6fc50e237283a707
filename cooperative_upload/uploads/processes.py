"""Names of processes, and whether the one of a name is still there.

A name is "machine/number/beginning". The machine is that of the kernel's boot and of the namespace
in which the number means something: containers of one host count as machines of their own. The
beginning tells a process from a later one that has its number.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def name_of_process() -> str:
    """This process's; a fork has another one."""
    return _name_of(os.getpid())


def is_gone(name: str) -> bool | None:
    """Whether that process has ended; None where this machine can't know it."""
    machine, number, beginning = name.rsplit("/", 2)
    if machine != _machine() or not beginning:
        return None
    return _beginning(int(number)) != beginning


@functools.lru_cache(maxsize=1)
def _name_of(number: int) -> str:
    return f"{_machine()}/{number}/{_beginning(number)}"


@functools.lru_cache(maxsize=1)
def _machine() -> str:
    try:
        return f"{_BOOT.read_text().strip()}:{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return os.uname().nodename


def _beginning(number: int) -> str:
    """When the process of that number began, in the kernel's ticks; "" if there is none."""
    try:
        text = Path(f"/proc/{number}/stat").read_bytes()
    except OSError:
        return ""
    # The name of the program, in parentheses, may hold anything; behind it are words alone.
    state, *fields = text[text.rindex(b")") + 2 :].split()
    return "" if state in (b"Z", b"X") else fields[18].decode()
