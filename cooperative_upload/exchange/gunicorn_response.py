"""gunicorn's Response, as far as an application can reach it: behind its start_response.

Not where a middleware around the application has put a start_response of its own there.
"""

from __future__ import annotations

import sys
from typing import Any


def response_behind(start_response: Any) -> Any | None:
    """The Response whose method this is; None if it is of another server, or out of reach."""
    module: Any = sys.modules.get("gunicorn.http.wsgi")  # it need not be gunicorn that serves
    owner = getattr(start_response, "__self__", None)
    return owner if module is not None and isinstance(owner, module.Response) else None


def forget_headers(start_response: Any) -> None:
    """Before it is called once more, with exc_info.

    PEP 3333 has the new headers replace the old ones. gunicorn (25 to 27) adds them, so that the
    response would have two lengths.
    """
    response = response_behind(start_response)
    if response is not None and not response.headers_sent:
        response.headers.clear()
        response.response_length = None
