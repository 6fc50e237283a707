"""From settings to measurements: which, in which order, how large. Numbers only, no I/O.

Order: all servers at one number of uploads, then at the next; so the figures that are compared
were measured within seconds of each other, while the machine was in the same mood.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.clients.bodies import request_size
from loadtest.errors import UsageError
from loadtest.settings import Settings

SMALLEST = 20_000_000  # bytes: less is over before the first latency is known
LARGEST = 4_000_000_000  # bytes: more shows nothing new
DISK_SHARE = 1 / 3  # of the free space: what was deleted may not be free again at once
OVERHEAD = 2.5  # seconds to start and end one server and two processes
SPARE_DESCRIPTORS = 100  # modules, logs, the selector, small requests
WARM_UP = 20_000_000  # bytes: code paths, allocator and page cache have been used once
CALIBRATION = 100_000_000  # bytes; enough to reach the full speed


@dataclass(frozen=True)
class Step:
    """One measurement."""

    server: str
    clients: int


@dataclass(frozen=True)
class Size:
    """What each client of a measurement sends: `requests` times `size` bytes of content."""

    requests: int
    size: int


def make_steps(settings: Settings, servers: Sequence[str]) -> list[Step]:
    """What is measured, in order: the idle servers first."""
    numbers = list(dict.fromkeys([0, *settings.loads]))
    return [
        Step(server, clients)
        for _ in range(settings.repeat)
        for clients in numbers
        for server in servers
    ]


def make_size(settings: Settings, clients: int, total: int) -> Size:
    """Divide `total` among the clients."""
    each = max(1, total // clients)
    size = min(settings.size or request_size(settings.body, each), each)
    if settings.size and settings.total is None:
        size = settings.size
    return Size(max(1, round(each / size)), size)


def choose_total(
    settings: Settings, steps: Sequence[Step], bytes_per_second: float, free_disk: int | None
) -> int:
    """How many bytes each measurement may upload so that all `steps` take about `seconds`.

    `bytes_per_second` is the first server's speed, taken for that of all. `free_disk` is None
    where it is not ours to know.
    """
    uploading = sum(step.clients > 0 for step in steps)
    idle = sum(step.clients == 0 for step in steps) * settings.idle_seconds
    left = settings.seconds - idle - len(steps) * OVERHEAD
    seconds = max(1.0, left / max(1, uploading))
    total = min(LARGEST, max(SMALLEST, round(bytes_per_second * seconds)))
    if free_disk is not None:
        total = min(total, int(free_disk * DISK_SHARE))
    digits = max(0, int(math.log10(max(1, total))) - 1)
    return int(total // 10**digits * 10**digits)


def check_descriptors(clients: int, limit: int) -> None:
    """Raise UsageError if so many clients can't be open at once.

    Of our own processes and of the servers that are started, to which the limit passes on.
    """
    needed = clients + SPARE_DESCRIPTORS
    if needed > limit:
        raise UsageError(
            f"{clients:,} clients at once need {needed:,} file descriptors and the limit is "
            f"{limit:,}: raise it with `ulimit -n {needed}`, or measure fewer."
        )


def check_disk(total: int, free_disk: int, directory: str) -> None:
    """Raise UsageError if the uploads cannot be spooled."""
    if total > free_disk:
        raise UsageError(
            f"The uploads need {total / 1e9:,.2f} GB and {directory} has {free_disk / 1e9:,.2f} "
            "GB free: use a smaller --total, or set TMPDIR to a directory with more space."
        )
