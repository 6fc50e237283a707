"""The servers on which the wrapper is tried, all of them as LiveServers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from checkout import SUPPORT
from live_server import COOPERATIVE, STOCK, Gunicorn, LiveServer

PYWSGI, WAITRESS = "gevent.pywsgi", "waitress"

# Where a hub runs each request, so that the wrapper makes its body cooperative.
WRAPPED_ON = [STOCK, "gevent_pywsgi", PYWSGI]
COOPERATIVELY_READ = [*WRAPPED_ON, COOPERATIVE]
# Where there is no hub: it passes the request through.
PASSING_ON = ["sync", "gthread", WAITRESS]
SERVERS = [*COOPERATIVELY_READ, *PASSING_ON]

# Those whose input is gunicorn's own, and those whose input is gevent's.
GUNICORNS = [STOCK, COOPERATIVE, "sync", "gthread"]
PYWSGIS = ["gevent_pywsgi", PYWSGI]


@dataclass(frozen=True)
class Script(Gunicorn):
    """A server that serve.py runs, with the interpreter of an installation of gunicorn."""

    server: str = ""

    @cached_property
    def version(self) -> tuple[int, ...]:
        raise NotImplementedError("it is not gunicorn")

    def command(self, application: str, options: tuple[str, ...]) -> list[str]:
        name = self.server.removeprefix("gevent.")
        return [str(self.python), str(SUPPORT / "serve.py"), name, application]


def live(gunicorn: Gunicorn, server: str, application: str, **more: Any) -> LiveServer:
    """One of SERVERS with this application; gunicorn's options are for gunicorn alone."""
    if server in (PYWSGI, WAITRESS):
        script = Script(**dataclasses.asdict(gunicorn), server=server)
        return LiveServer(script, application=application, worker=None, **more)
    threads = ("--threads", "4") if server == "gthread" else ()
    return LiveServer(gunicorn, *threads, application=application, worker=server, **more)


def serving_process(server: LiveServer) -> int:
    """The process in which the application runs."""
    workers = server.workers()
    return workers[0] if workers else server.pid
