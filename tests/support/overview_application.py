"""The application of the tests about the numbers of all workers: ending_application's, and more.

GET /overview tells them. wrapped() has the middleware around it, and writes its log to stderr.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable
from typing import Any

import gevent
from applications import digest_of, going_on
from ending_application import application, flask_application, waiting
from flask import request

from cooperative_upload import CooperativeUploadMiddleware, overview

__all__ = ["application", "wrapped"]


@flask_application.get("/overview")
def tell() -> dict[str, Any]:
    return dataclasses.asdict(overview())


@flask_application.post("/answer-when-told")
def answer_when_told() -> dict[str, Any]:
    """Wait for POST /go-on behind the last read."""
    digest = digest_of(request.stream.read)
    going_on[request.args["name"]].wait()
    return digest


@flask_application.post("/spin")
def spin() -> str:
    """Be ready all the time, until POST /go-on."""
    waiting.add(request.args["name"])
    while not going_on[request.args["name"]].is_set():
        gevent.sleep(0)
    return "spun"


def wrapped() -> Callable[..., Iterable[bytes]]:
    logging.basicConfig(level=logging.INFO, format="[%(levelname)s] %(name)s: %(message)s")
    return CooperativeUploadMiddleware(application)
