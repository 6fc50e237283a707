"""What holds an upload up in each state, and what an overview tells of it then."""

from __future__ import annotations

from typing import Any

from http_client import content
from live_server import LiveServer
from overviews import (
    SIZE,
    Hold,
    InChunks,
    OverHttp2,
    WithLength,
    by_another_upload,
    by_draining,
    by_its_answer,
    by_its_client,
    by_its_view,
    by_others_work,
    by_the_disk,
)

LARGE = content(1_000_000)
FRAMINGS: dict[str, type[WithLength]] = {
    "Content-Length": WithLength,
    "chunked": InChunks,
    "TLS": WithLength,
    "HTTP/2": OverHttp2,
}
HELD_UP: dict[str, Hold] = {
    "reading": by_its_view,
    "waiting for a place": by_another_upload,
    "waiting for its turn": by_others_work,
    "waiting for the client": by_its_client,
    "writing": by_the_disk,
    "draining": by_draining,
    "answering": by_its_answer,
}


def check_upload(upload: dict[str, Any], server: LiveServer, expected: int | None) -> None:
    """What is the same in all states."""
    assert upload["worker"] in server.workers()
    assert upload["id"].startswith(f"{upload['worker']}-")
    assert (upload["client"], upload["method"]) == ("127.0.0.1", "POST")
    assert upload["expected"] == expected
    assert 0 <= upload["received"] <= SIZE
    if upload["state"] == "reading":  # more than the first block was received with it, or not
        assert upload["received"] >= 64 * 1024
    if upload["state"] in ("waiting for a place", "waiting for its turn"):
        assert upload["received"] == 0
    assert 0 < upload["seconds"] < 20
    waits = [upload[f"waited_for_{what}"] for what in ("turns", "client", "disk")]
    assert all(wait >= 0 for wait in waits)
    assert sum(waits) <= upload["seconds"]
