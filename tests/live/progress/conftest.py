"""Two workers, one of which is asked for the progress of the other's uploads."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from live_server import Gunicorn, LiveServer, wait_until
from progress_clients import APPLICATION, LARGEST, TWO_WORKERS


@pytest.fixture(scope="module")
def server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    """Two workers, which write what was asked to the access log."""
    environment = {"COOPERATIVE_UPLOAD_MAX_BODY_BYTES": str(LARGEST)}
    options = (*TWO_WORKERS, "--access-logfile", "-")
    with LiveServer(
        gunicorn, *options, application=APPLICATION, environment=environment
    ) as server:
        wait_until(lambda: len(server.workers()) == 2, "two workers")
        yield server
        assert not server.own_tracebacks()


@pytest.fixture
def chosen() -> str:
    return secrets.token_hex(16)
