"""The application of the soak test: that of the other tests, and a view of the worker's state."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import applications
import greenlet
from flask import Response

import cooperative_upload


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/state":
        return Response(_state())(environ, start_response)
    return applications.application(environ, start_response)


def _state() -> str:
    """The counters of uploads, and how many threads and living greenlets there are."""
    gc.collect()
    greenlets = [each for each in gc.get_objects() if isinstance(each, greenlet.greenlet)]
    return json.dumps(
        {
            "uploads": cooperative_upload.upload_statistics(),
            "greenlets": sum(bool(each) for each in greenlets),
            "threads": len(os.listdir("/proc/self/task")),
        }
    )
