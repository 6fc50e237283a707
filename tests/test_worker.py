"""What the worker takes from gunicorn's request is what the application gets."""

from __future__ import annotations

from types import SimpleNamespace

import gunicorn.config
import gunicorn.http.parser
import gunicorn.http.wsgi
import pytest

from cooperative_upload.monitoring.upload_id import NAME
from cooperative_upload.worker import _header


@pytest.mark.parametrize("values", [[], ["one"], ["one", "two"], ["", "two"], ["one", "one"]])
def test_a_header_that_comes_more_than_once(values: list[str]) -> None:
    """An id that the worker took, and the application never saw, would be somebody else's."""
    lines = ["GET / HTTP/1.1", *(f"{NAME}: {value}" for value in values), "", ""]
    config = gunicorn.config.Config()
    address = ("127.0.0.1", 1)
    wire = [("\r\n".join(lines)).encode()]
    request = next(gunicorn.http.parser.RequestParser(config, iter(wire), address))
    sock = SimpleNamespace()
    _, environ = gunicorn.http.wsgi.create(request, sock, address, ("127.0.0.1", 80), config)
    assert _header(request, NAME.upper()) == environ.get("HTTP_X_PROGRESS_ID", "")
