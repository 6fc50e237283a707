"""Servers of which an overview is looked at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from live_server import Certificate, Gunicorn, LiveServer
from overviews import APPLICATION

# What each state is seen with. One upload may run at a time, and a turn comes when the loop is
# idle or never.
PATIENT = {
    "COOPERATIVE_UPLOAD_MAX_UPLOADS": "1",
    "COOPERATIVE_UPLOAD_MAX_UPLOADS_WAIT_SECONDS": "20",
    "COOPERATIVE_UPLOAD_DEADLINE_MS": "60000",
}


@pytest.fixture(scope="module")
def plain_server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    with LiveServer(gunicorn, application=APPLICATION, environment=PATIENT) as server:
        yield server
        assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def tls_server(gunicorn: Gunicorn, certificate: Certificate) -> Iterator[LiveServer]:
    with LiveServer(
        gunicorn,
        "--http-protocols",
        "h2,h1",
        application=APPLICATION,
        environment=PATIENT,
        certificate=certificate,
    ) as server:
        yield server
        assert not server.own_tracebacks()
