"""Runs an application on a server that has no command of its own, as gunicorn's would.

    python serve.py pywsgi|waitress MODULE:NAME

Says "Listening at: http://127.0.0.1:PORT" when it does, and ends on SIGQUIT, at once.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any


def pywsgi(load: Callable[[], Any]) -> None:
    """gevent's own server, as its documentation starts it."""
    from gevent import monkey

    monkey.patch_all()

    from gevent.pywsgi import WSGIServer

    server: Any = WSGIServer(("127.0.0.1", 0), load())
    server.start()
    announce(server.server_port)
    server.serve_forever()


def waitress(load: Callable[[], Any]) -> None:
    """Threads behind a loop that buffers whole requests."""
    import waitress

    server: Any = waitress.create_server(load(), host="127.0.0.1", port=0)
    announce(server.effective_port)
    server.run()


def announce(port: int) -> None:
    print(f"Listening at: http://127.0.0.1:{port}", flush=True)


def main() -> None:
    server, application = sys.argv[1:]
    module, _, name = application.partition(":")
    signal.signal(signal.SIGQUIT, lambda *_: os._exit(0))

    def load() -> Any:
        made = getattr(importlib.import_module(module), name.removesuffix("()"))
        return made() if name.endswith("()") else made

    {"pywsgi": pywsgi, "waitress": waitress}[server](load)


if __name__ == "__main__":
    main()
