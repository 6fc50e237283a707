"""Requests as a worker sees them, in the process of the test.

gunicorn's own parser reads the bytes of a connection, and our Worker replaces the body of each
request. Only the half of gunicorn that would call an application and send its answer is left out:
the test's function takes its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from gunicorn.workers.ggevent import GeventWorker

from cooperative_upload.worker import Worker

CONFIG = Config()
ADDRESS = ("127.0.0.1", 1)

Application = Callable[[Any], object]


class _Gunicorn(GeventWorker):  # type: ignore[misc]  # gunicorn has no type hints
    """What our Worker sees of gunicorn's."""

    def __init__(self) -> None:
        self.cfg = CONFIG
        self.application: Application = lambda request: None

    def init_process(self) -> None:
        """Nothing: no signals, no loop."""

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        self.application(req)


class WorkerInProcess(Worker, _Gunicorn):
    """A Worker whose bodies all take turns, and which leaves werkzeug alone."""

    patch_werkzeug = False
    small_body_bytes = 0


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
    for application in applications:
        worker.application = application
        worker.handle_request(None, next(parser), connection, ADDRESS)
