"""The counters of this process, and those of a live server that runs ending_application."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from live_server import LiveServer, wait_until

from cooperative_upload.monitoring.monitor import upload_statistics

# Numbers that also change by what a test does not look at.
_OF_THE_LOOP = frozenset({"turns", "grants_by_deadline", "loop_blocked", "uploads"})


class Counted:
    """What changed in the counters of this process, from the making of this on.

    Those of endings, bytes and connections; how often turns were taken depends on the machine.
    """

    def __init__(self) -> None:
        self._before = upload_statistics()

    def so_far(self) -> dict[str, int]:
        """What has changed, and by how much."""
        now = upload_statistics()
        return {
            name: now[name] - n
            for name, n in self._before.items()
            if now[name] != n and name not in _OF_THE_LOOP
        }


def statistics(server: LiveServer) -> dict[str, int]:
    """What upload_statistics() says in the server's one worker."""
    with server.connect() as connection:
        connection.send_request("GET", "/statistics", headers={"Connection": "close"})
        counts: dict[str, int] = connection.response().json()
        return counts


@contextlib.contextmanager
def counted(server: LiveServer, **expected: int) -> Iterator[None]:
    """The block adds exactly so much to these counters, at the latest soon after its end."""
    before = statistics(server)

    def added() -> dict[str, int]:
        return {name: count - before[name] for name, count in statistics(server).items()}

    yield
    try:
        wait_until(lambda: expected.items() <= added().items(), f"{expected} are counted")
    except AssertionError as error:
        changed = {name: count for name, count in added().items() if count}
        error.args = (f"{error}; counted are {changed}",)
        raise
