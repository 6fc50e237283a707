"""CPU time and memory of a server's processes, and of the whole machine, read while it runs.

Memory is the resident set, added up over the processes: pages that they share count in each, which
the difference to the idle server takes out again.
"""

from __future__ import annotations

import time

import psutil

CHILDREN_SECONDS = 1.0  # how often to look for new processes: it reads all of /proc


class Watch:
    """The process `pid` and its descendants."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._known: dict[int, psutil.Process] = {pid: self._root}
        self._cpu: dict[int, float] = {}
        self._next_search = 0.0
        self.peak_memory = 0

    def sample(self) -> int:
        """Read once; returns the memory in bytes now."""
        now = time.monotonic()
        if now >= self._next_search:
            self._next_search = now + CHILDREN_SECONDS
            self._search()
        memory = 0
        for pid, process in list(self._known.items()):
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    memory += process.memory_info().rss
            except psutil.Error:
                del self._known[pid]  # ended; the CPU time last seen stays
            else:
                self._cpu[pid] = times.user + times.system
        self.peak_memory = max(self.peak_memory, memory)
        return memory

    def cpu_seconds(self) -> float:
        """Used so far by all processes ever seen, as of the last sample."""
        return sum(self._cpu.values())

    def _search(self) -> None:
        try:
            found = self._root.children(recursive=True)
        except psutil.Error:
            return
        for process in found:
            self._known.setdefault(process.pid, process)


def machine_cpu_seconds() -> float:
    """Used so far by everything on the machine, and by its host in our place (steal)."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def cores() -> int:
    """That this process may use."""
    return len(psutil.Process().cpu_affinity() or [0])
