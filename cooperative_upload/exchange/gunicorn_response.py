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
