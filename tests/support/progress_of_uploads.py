"""Uploads with an id, what is found of them, and requests for their progress."""

from __future__ import annotations

from typing import Any

from wsgi import Call, call, environ

from cooperative_upload import UploadProgress
from cooperative_upload.monitoring.monitor import Upload
from cooperative_upload.monitoring.overview import Progress, find_progress

ID = "an-id-that-is-long-enough"
EVENTS = "text/event-stream"
STARTING = {
    "state": "starting",
    "received": 0,
    "size": None,
    "status": 0,
    "rate": 0,
    "ending": None,
}


def begin(chosen: str = ID, expected: int | None = 100, received: int = 0) -> Upload:
    upload = Upload("POST", "/upload", "192.0.2.1", expected, chosen)
    upload.record.received = received
    return upload


def found(chosen: str = ID) -> Progress:
    progress = find_progress(chosen)
    assert progress is not None
    return progress


def get(application: UploadProgress, query: str = f"X-Progress-ID={ID}", **more: Any) -> Call:
    fields = {"REQUEST_METHOD": "GET", "QUERY_STRING": query, **more}
    return call(application, {**environ(), **fields})
