"""What overview() tells of real uploads: their states, rates and paths."""

from __future__ import annotations

import json

import pytest
from http_client import data_description, head
from live_server import Gunicorn, LiveServer, wait_until
from overview_states import FRAMINGS, HELD_UP, check_upload
from overviews import (
    APPLICATION,
    BODY,
    SIZE,
    WithLength,
    numbers_added,
    told,
    wait_for_state,
    wait_for_uploads,
)
from uploads import EndlessUpload

from cooperative_upload.monitoring.overview import STATES


def test_every_state_is_seen() -> None:
    assert set(HELD_UP) == set(STATES)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("state", HELD_UP)
def test_state(plain_server: LiveServer, tls_server: LiveServer, state: str, framing: str) -> None:
    """With all else that is told of the upload, which is told no more once it has ended."""
    server = plain_server if framing in ("Content-Length", "chunked") else tls_server
    if state == "draining" and framing in ("chunked", "HTTP/2"):
        pytest.skip("such a rest is never drained")
    if framing == "HTTP/2" and server.gunicorn.version < (27,):
        pytest.skip("this gunicorn collects such bodies before it calls the application")
    begin_with = FRAMINGS[framing]
    ending = "drained" if state == "draining" else "complete"
    others = int(state == "waiting for a place")
    expected = {ending: 1 + others, "bytes": SIZE * (1 + others), "uploads": 0}
    with numbers_added(server, **expected):
        protocols = ("h2",) if framing == "HTTP/2" else ()
        with server.connect(protocols=protocols) as connection:

            def begin(path: str, headers: dict[str, str]) -> WithLength:
                return begin_with(connection, path, headers)

            with HELD_UP[state](server, begin) as held:
                upload = wait_for_state(server, state, held.path)
                assert len(told(server)["uploads"]) == 1 + others
                (worker,) = told(server)["workers"]
                assert worker["uploads"] == 1 + others
                check_upload(upload, server, begin_with.expected)
                if state in ("waiting for the client", "draining", "answering", "writing"):
                    # gunicorn gives full frames alone, until the last.
                    missing = held.sent % 16_384 if framing == "HTTP/2" and held.sent < SIZE else 0
                    wait_until(
                        lambda: received(server, upload["id"]) == held.sent - missing,
                        "all that was sent",
                    )
            assert held.response is not None
            assert held.response.status == 200
        wait_for_uploads(server, 0)


def received(server: LiveServer, upload_id: str) -> int:
    (upload,) = [each for each in told(server)["uploads"] if each["id"] == upload_id]
    number: int = upload["received"]
    return number


def test_http2_without_a_length(tls_server: LiveServer) -> None:
    """Nobody knows how much is to come."""
    if tls_server.gunicorn.version < (27,):
        pytest.skip("this gunicorn collects such bodies before it calls the application")
    from http2_client import Http2Connection

    with tls_server.connect(protocols=("h2",)) as connection:
        http2 = Http2Connection(connection)
        stream = http2.begin("POST", "/stream")
        http2.send(stream, BODY)
        upload = wait_for_state(tls_server, "waiting for the client", "/stream")
        assert upload["expected"] is None
        http2.send(stream, b"", end=True)
        assert http2.response(stream).json() == data_description(BODY)


def test_small_body_is_an_upload_too(plain_server: LiveServer) -> None:
    """It takes no turns, but is told while its client makes it wait."""
    with (
        numbers_added(plain_server, complete=1, bytes=10, turns=0, uploads=0),
        plain_server.connect() as connection,
    ):
        connection.send(head("POST", "/stream", {"Content-Length": "10"}) + b"12345")
        upload = wait_for_state(plain_server, "waiting for the client", "/stream")
        assert (upload["received"], upload["expected"]) == (5, 10)
        connection.send(b"67890")
        assert connection.response().json() == data_description(b"1234567890")


def test_rate_of_a_steady_client(newest: Gunicorn) -> None:
    """Bytes a second of the last seconds."""
    with (
        LiveServer(newest, application=APPLICATION) as server,
        EndlessUpload(server, "/swallow") as upload,
    ):
        wait_until(lambda: rate(server) > 1_000_000, "a rate")
        (now,) = told(server)["uploads"]
        # Of the whole time it is of the same size, and no more than was sent.
        assert now["received"] <= upload.sent
        assert 0.1 < now["rate"] * now["seconds"] / now["received"] < 10
        upload.finish()


def rate(server: LiveServer) -> float:
    """That of the only upload; 0 if it has not begun."""
    rates: list[float] = [upload["rate"] for upload in told(server)["uploads"]]
    return sum(rates)


def test_path_is_told_without_its_query(plain_server: LiveServer) -> None:
    """Where secrets may be; and a path of many bytes is cut."""
    path = "/data/" + "a" * 1000
    with plain_server.connect() as connection:
        connection.send(head("POST", f"{path}?token=secret", {"Content-Length": "10"}) + b"12345")
        (upload,) = wait_for_uploads(plain_server, 1)
        assert path.startswith(upload["path"])
        assert len(upload["path"]) > 100
        assert "secret" not in json.dumps(told(plain_server))
    wait_for_uploads(plain_server, 0)
