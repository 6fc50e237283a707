"""The wrapper on servers that are not ours: its limits, and who runs beside an upload."""

from __future__ import annotations

import pytest
from http_client import (
    chunk,
    chunked,
    data_description,
    form_description,
    head,
    pieces_of,
)
from live_server import COOPERATIVE, Gunicorn, wait_until
from other_servers import (
    COOPERATIVELY_READ,
    WRAPPED_ON,
    live,
    serving_process,
)
from uploads import EndlessUpload, pings_counted
from wrapped_application import LIMIT_BYTES
from wrapped_bodies import CHUNKED, CHUNKED_FORM, DATA, FORM, PARTS

# Limits.


@pytest.mark.parametrize("name", COOPERATIVELY_READ)
def test_limits(newest: Gunicorn, name: str) -> None:
    """A body above the limit of the wrapper is a 413, announced or found out."""
    environment = {}
    if name == COOPERATIVE:  # whose settings are the ones that count
        environment = {"COOPERATIVE_UPLOAD_MAX_BODY_BYTES": str(LIMIT_BYTES)}
    with live(newest, name, "wrapped_application:limited()", environment=environment) as server:
        for size, status in ((LIMIT_BYTES, 200), (LIMIT_BYTES + 1, 413), (len(DATA), 413)):
            data = DATA[:size]
            for body, headers in ((data, {}), (chunked(pieces_of(data, 50_000)), CHUNKED)):
                with server.connect() as connection:
                    response = connection.post("/data", body, headers)
                assert response.status == status, (size, headers)
                if status == 413:
                    assert "accepted are at most 1,000,000" in response.body.decode()
        with server.connect() as connection:
            connection.ping()


@pytest.mark.parametrize("name", WRAPPED_ON)
def test_uploads_at_once(newest: Gunicorn, name: str) -> None:
    """max_uploads is a limit of the wrapper's too, and its places come back."""
    environment = {"COOPERATIVE_UPLOAD_MAX_UPLOADS": "1"}
    with live(newest, name, "wrapped_application:wrapped()", environment=environment) as server:
        with server.connect() as first:
            first.send(head("POST", "/form", {**CHUNKED_FORM}) + chunk(FORM[:2_000_000]))
            process = serving_process(server)
            wait_until(lambda: server.spooled_descriptors(process), "a spool on disk")
            with server.connect() as second:
                response = second.post("/data", DATA)
                assert response.status == 503
                assert response.headers["retry-after"]
            with server.connect() as third:
                third.ping()
            first.send(chunk(FORM[2_000_000:]) + b"0\r\n\r\n")
            assert first.response().json() == form_description(*PARTS)
        with server.connect() as connection:
            assert connection.post("/data", DATA).json() == data_description(DATA)


# Cooperation.


@pytest.mark.parametrize("name", WRAPPED_ON)
def test_small_requests_beside_an_upload(newest: Gunicorn, name: str) -> None:
    """Many are answered while an upload is sent at full speed; without the wrapper hardly one."""
    answers = {}
    for application in ("wrapped_application:wrapped()", "applications:application"):
        with (
            live(newest, name, application) as server,
            # Small reads, so that the server is the slower one and never waits for the client.
            EndlessUpload(server, "/stream?read=4000") as upload,
        ):
            upload.wait_for(10_000_000)
            with pings_counted(server) as count:
                upload.wait_for(30_000_000)
                answers[application] = count[0]
                upload.finish()
    with_wrapper, without = answers.values()
    assert with_wrapper >= 20
    assert with_wrapper > 2 * without, answers
