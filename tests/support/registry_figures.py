"""How long the verbs take with many uploads in the registry, and what they cost the loop.

    python tests/support/registry_figures.py DATABASE [UPLOADS]

For each verb the median, the 99th percentile, and the processor's time of all threads, in ms, one
call after the other; then how late a
timer of 1 ms comes beside eight clients that do nothing but call them.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import gevent
from memory_storage import MemoryStorage
from sqlalchemy import Connection, insert
from upload_services import body, service

from cooperative_upload.storage import Ranges
from cooperative_upload.uploads import Creation, State, UploadService
from cooperative_upload.uploads.creating import new_upload
from cooperative_upload.uploads.rows import row_of
from cooperative_upload.uploads.schema import uploads as table

CALLS = 300
CLIENTS = 8
SECONDS = 5.0


def fill(service: UploadService, count: int) -> list[str]:
    """So many ready uploads of a hundred owners, past the verbs; some of their ids."""
    rows = []
    for number in range(count):
        creation = Creation(f"owner {number % 100}", size=1000, name="film.mp4")
        upload = new_upload(creation, lambda creation, id: id, 1.0)
        received = Ranges.of([(0, 1000)])
        ready = replace(upload, state=State.READY, received=received, expires=None)
        rows.append(row_of(ready))
    for start in range(0, count, 1000):
        some = rows[start : start + 1000]
        service._database.write(partial(_insert, some))
    return [row["id"] for row in random.sample(rows, CALLS)]


def _insert(rows: list[dict[str, Any]], connection: Connection) -> None:
    connection.execute(insert(table), rows)


def timed(name: str, call: Callable[[int], object]) -> None:
    times = []
    processor = time.process_time()
    for number in range(CALLS):
        began = time.perf_counter()
        call(number)
        times.append((time.perf_counter() - began) * 1000)
    processor = (time.process_time() - processor) * 1000 / CALLS
    times.sort()
    p99 = times[int(0.99 * CALLS)]
    print(f"{name:22} {statistics.median(times):7.2f} {p99:7.2f} processor {processor:.2f}")


def lateness(seconds: float) -> list[float]:
    """By how many ms timers of 1 ms came late in that time."""
    late, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        gevent.sleep(0.001)
        late.append((time.perf_counter() - began) * 1000 - 1)
    return sorted(late)


def show(name: str, late: list[float]) -> None:
    p99, longest = late[int(0.99 * len(late))], late[-1]
    print(f"{name:22} {statistics.median(late):7.2f} {p99:7.2f} longest {longest:.2f}")


def main() -> None:
    database, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    with service(MemoryStorage(), database) as uploads:
        uploads.create(Creation("first"))
        ids = fill(uploads, count)
        print(f"{count:,} uploads; ms: median, p99, processor")
        creation = Creation("owner 7", size=1000, name="film.mp4")
        timed("create", lambda number: uploads.create(creation))
        timed("status", lambda number: uploads.status(ids[number]))
        timed("list of 100", lambda number: uploads.of_owner(f"owner {number % 100}"))
        whole = uploads.create(Creation("owner 8", size=10**9))
        timed("append of 100 bytes", lambda n: uploads.append(whole.id, n * 100, body(bytes(100))))
        show("timer, idle", lateness(SECONDS))

        def client(number: int) -> None:
            mine = uploads.create(Creation(f"owner {number}", size=10**9))
            for call in range(10**9):
                uploads.append(mine.id, call * 100, body(bytes(100)))
                uploads.status(ids[call % CALLS])

        clients = [gevent.spawn(client, number) for number in range(CLIENTS)]
        show(f"timer, {CLIENTS} clients", lateness(SECONDS))
        gevent.killall(clients)


if __name__ == "__main__":
    gevent.spawn(main).get()
