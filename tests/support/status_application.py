"""applications.py with the status page beside it, for each way of being let in.

POST /files/<any name> reads its body to the end, and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import applications
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from cooperative_upload import StatusPage

TOKEN = "kQ3vT9-eY_7wLr2MzX0a"


def files(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    return applications.application({**environ, "PATH_INFO": "/swallow"}, start_response)


application = DispatcherMiddleware(
    applications.application,
    {
        "/files": files,
        "/upload-status": StatusPage(["127.0.0.1"]),
        "/with-token": StatusPage(token=TOKEN),
        "/closed": StatusPage(),
        "/upload-behind-proxyfix": ProxyFix(StatusPage(["127.0.0.2"]), x_for=1),
    },
)


def out_of_reach(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """With a start_response that is not the server's own."""
    return application(environ, lambda *args: start_response(*args))
