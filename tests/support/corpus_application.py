"""The application that gunicorn's request corpora are sent to: it answers with what it was given.

How much it reads of a body depends on the address at which it is reached, since nothing in the
requests may be changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any

READERS: dict[str, Callable[[Any], bytes]] = {
    "127.0.0.1": lambda body: bytes(body.read()),
    "127.0.0.2": lambda body: bytes(body.readline()),
    "127.0.0.3": lambda body: b"",
}
READS_ALL, READS_A_LINE, READS_NOTHING = READERS

# Not the same on two servers, or on two connections.
_PASSING = ("REMOTE_PORT", "SERVER_PORT")


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers one line of JSON.

    Of the environ it tells what the stock worker has too, not what ours adds for the access log.
    """
    names = sorted(name for name in environ if not name.startswith("cooperative_upload."))
    body = READERS[environ["SERVER_NAME"]](environ["wsgi.input"])
    answer = {
        "environ": {
            name: environ[name]
            for name in names
            if isinstance(environ[name], str) and name not in _PASSING
        },
        "names": names,
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    line = json.dumps(answer).encode() + b"\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(line)))])
    return [line]
