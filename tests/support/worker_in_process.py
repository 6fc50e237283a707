"""Requests as a worker sees them, in the process of the test.

gunicorn's own parser reads the bytes of a connection, and our Worker replaces the body of each
request. Only the half of gunicorn that would call an application and send its answer is left out:
the test's function takes its place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from gunicorn.workers.base_async import AsyncWorker
from gunicorn.workers.ggevent import GeventWorker

from cooperative_upload.worker import Worker

CONFIG = Config()
ADDRESS = ("127.0.0.1", 1)

Application = Callable[[Any], object]


class _Application(AsyncWorker):  # type: ignore[misc]  # gunicorn has no type hints
    """The half that is left out. It stands behind GeventWorker, which our Worker passes by."""

    application: Application

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        self.application(req)


class _Gunicorn(GeventWorker, _Application):  # type: ignore[misc]
    """What our Worker sees of gunicorn's."""

    def __init__(self) -> None:
        self.cfg = CONFIG
        self.alive = True
        self.log = logging.getLogger(__name__)
        self.application = lambda request: None

    def init_process(self) -> None:
        """Nothing: no signals, no loop."""


class WorkerInProcess(Worker, _Gunicorn):
    """A Worker whose bodies all take turns, and which leaves werkzeug alone."""

    patch_werkzeug = False
    small_body_bytes = 0

    def _linger(self, sock: Any, exchange: Any) -> None:
        """Not here: the test looks at what is left on the connection."""


class _NoSocket:
    """For the pieces of a connection that come from an iterator."""

    def settimeout(self, seconds: float | None) -> None:
        """There is nothing to wait for."""

    def sendall(self, data: bytes) -> None:
        raise AssertionError(f"nobody asked for {data!r}")


def serve(connection: Any, *applications: Application, replaced: bool = True) -> None:
    """Give the requests of a connection to the applications, one to each, in order.

    connection: a gevent socket, or an iterator of the pieces that arrive.
    replaced: whether our Worker replaces the bodies, or they stay gunicorn's.
    Raises what the parser or an application raises; StopIteration where gunicorn would close the
    connection instead of looking for the next request.
    """
    worker = WorkerInProcess() if replaced else _Gunicorn()
    worker.init_process()
    parser = RequestParser(CONFIG, connection, ADDRESS)
    sock = connection if hasattr(connection, "sendall") else _NoSocket()
    closing = False
    for application in applications:
        if closing:
            raise StopIteration
        worker.application = application
        request = next(parser)
        try:
            worker.handle_request(None, request, sock, ADDRESS)
        except StopIteration:  # which concerns the next one
            closing = True
