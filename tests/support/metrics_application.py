"""Applications with /metrics, which says by X-Worker which worker was scraped.

The rest is ending_application; wrapped() has the middleware around it, for workers not ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from ending_application import application as uploads
from prometheus_client import CollectorRegistry, make_wsgi_app

from cooperative_upload import CooperativeUploadMiddleware
from cooperative_upload.monitoring.prometheus import UploadCollector

Application = Callable[..., Iterable[bytes]]

registry = CollectorRegistry()
registry.register(UploadCollector())
metrics: Application = make_wsgi_app(registry)


def with_metrics(application: Application) -> Application:
    def route(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/metrics":
            return application(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], *args: Any) -> Any:
            return start_response(status, [*headers, ("X-Worker", str(os.getpid()))], *args)

        return metrics(environ, start)

    return route


application = with_metrics(uploads)


def wrapped() -> Application:
    return CooperativeUploadMiddleware(application)
