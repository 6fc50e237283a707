"""What a server's processes use, and CPU time of the whole machine, read while it runs.

Memory is the resident set, added up over the processes: pages that they share count in each, which
the difference to the idle server takes out again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable

import psutil

CHILDREN_SECONDS = 1.0  # how often to look for new processes: it reads all of /proc


class Watch:
    """The processes `pids` and their descendants."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._roots = [psutil.Process(pid) for pid in pids]
        self._known: dict[int, psutil.Process] = {root.pid: root for root in self._roots}
        self._cpu: dict[int, float] = {}
        self._next_search = 0.0
        self._ended: set[int] = set()
        self.peak_memory = 0

    def sample(self) -> int:
        """Read once; returns the memory in bytes now."""
        now = time.monotonic()
        if now >= self._next_search:
            self._next_search = now + CHILDREN_SECONDS
            self._search()
        memory = sum(self._read(pid) for pid in list(self._known))
        self.peak_memory = max(self.peak_memory, memory)
        return memory

    def _read(self, pid: int) -> int:
        """Note the CPU time of one process; returns its memory, 0 if it has ended."""
        process = self._known[pid]
        try:
            with process.oneshot():
                times, memory = process.cpu_times(), int(process.memory_info().rss)
        except psutil.Error:
            memory = 0
        if not memory:  # nor has a zombie any
            del self._known[pid]  # the CPU time last seen stays
            self._ended.add(pid)
            return 0
        self._cpu[pid] = times.user + times.system
        return memory

    @property
    def ended(self) -> int:
        """How many of the processes have come to their end: of gunicorn's workers, the killed."""
        return len(self._ended)

    def descriptors(self) -> int:
        """Open now, in all of the processes."""
        self._search()
        found = 0
        for process in list(self._known.values()):
            with contextlib.suppress(psutil.Error):
                found += process.num_fds()
        return found

    def cpu_seconds(self) -> float:
        """Used so far by all processes ever seen, as of the last sample."""
        return sum(self._cpu.values())

    def _search(self) -> None:
        for root in self._roots:
            with contextlib.suppress(psutil.Error):  # ended: who waits for it will say so
                for process in root.children(recursive=True):
                    self._known.setdefault(process.pid, process)


def machine_cpu_seconds() -> float:
    """Used so far by everything on the machine, and by its host in our place (steal)."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)
