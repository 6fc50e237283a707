"""WSGI environs and calls without a server."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


def environ(data: bytes = b"", **more: Any) -> dict[str, Any]:
    """Of a POST with this body; `more` by the names of the environ, dots written as underscores
    in front ("wsgi_input")."""
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "CONTENT_LENGTH": str(len(data)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input": io.BytesIO(data),
        **{name.replace("wsgi_", "wsgi."): value for name, value in more.items()},
    }


@dataclass
class Call:
    """What an application answered."""

    statuses: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def status(self) -> int:
        return int(self.statuses[-1].split()[0])


def call(application: Callable[..., Any], environ: dict[str, Any]) -> Call:
    """Call it as a server does, with all of its response taken and closed."""
    made = Call()

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        made.statuses.append(status)
        made.headers = dict(headers)

    response = application(environ, start_response)
    try:
        made.body = b"".join(response)
    finally:
        if hasattr(response, "close"):
            response.close()
    return made
