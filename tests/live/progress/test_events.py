"""Progress of real uploads as events, asked for in the other of two workers."""

from __future__ import annotations

import signal
import time

import pytest
from live_server import STOCK, Gunicorn, LiveServer, wait_until
from progress_application import LONGEST, WAIT
from progress_clients import APPLICATION, FRAMINGS, PIECE, WRAPPED, Asking, SlowUpload, Stream


@pytest.mark.parametrize("framing", FRAMINGS)
def test_events_of_an_upload(server: LiveServer, chosen: str, framing: str) -> None:
    """From before it begins until it is done; then the connection is good for more."""
    size = 3 * len(PIECE) if framing == "Content-Length" else None
    with Stream(server, chosen) as stream:
        assert stream.status == 200
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        assert stream.headers["Cache-Control"] == "no-store"
        assert stream.headers["X-Accel-Buffering"] == "no"
        assert stream.next_block() == {"retry": "1000"}
        assert stream.next_event()["state"] == "starting"
        with SlowUpload(server, chosen, size) as upload:
            events = [stream.next_event()]
            assert (events[0]["state"], events[0]["received"]) == ("uploading", 0)
            for _ in range(3):
                upload.send()
                while events[-1]["received"] < upload.sent:
                    events.append(stream.next_event())
                    assert events[-1]["received"] <= upload.sent
            upload.finish()
            events += stream.rest()
        received = [event["received"] for event in events]
        assert received == sorted(received)
        assert [event["state"] for event in events[:-1]] == ["uploading"] * (len(events) - 1)
        assert (events[-1]["state"], events[-1]["received"]) == ("done", upload.sent)
        assert stream.blocks[-1]["id"] == "ended"
        stream.connection.ping()


def test_comments_while_nothing_changes(server: LiveServer, chosen: str) -> None:
    with SlowUpload(server, chosen, 1000), Asking(server, chosen) as ask:
        ask.wait_for(state="uploading")
        with Stream(server, chosen) as stream:
            assert stream.next_event()["state"] == "uploading"
            assert stream.next_block() == {"": ""}
            assert stream.next_block() == {"": ""}


def test_streams_end_in_time(server: LiveServer, chosen: str) -> None:
    """That of an id that nobody uses, and that of an upload that goes on."""
    began = time.monotonic()
    with Stream(server, "nobody-" + chosen, path="/brief") as stream:
        assert [event["state"] for event in stream.rest()] == ["starting"]
        assert time.monotonic() - began >= WAIT
    with SlowUpload(server, chosen, 1000), Asking(server, chosen) as ask:
        ask.wait_for(state="uploading")
        began = time.monotonic()
        with Stream(server, chosen, path="/brief") as stream:
            assert [event["state"] for event in stream.rest()] == ["uploading"]
            assert time.monotonic() - began >= LONGEST


def test_after_the_last_event(server: LiveServer, chosen: str) -> None:
    """EventSource comes back with the last id, and is told to stay away."""
    with SlowUpload(server, chosen, 1000) as upload:
        upload.send(PIECE[:1000])
        upload.finish()
        with Stream(server, chosen) as stream:
            assert stream.rest()[-1]["state"] == "done"
        with Stream(server, chosen, headers={"Last-Event-ID": "ended"}) as stream:
            assert stream.status == 204
            stream.connection.ping()


def leftovers(server: LiveServer) -> dict[str, int]:
    with server.connect() as connection:
        connection.send_request("GET", "/leftovers", headers={"Connection": "close"})
        counts: dict[str, int] = connection.response().json()
        return counts


@pytest.mark.parametrize("worker", ["cooperative_upload.Worker", STOCK, "gevent_pywsgi"])
@pytest.mark.parametrize("way", ["close", "reset"])
def test_who_goes_away_leaves_nothing(
    gunicorn: Gunicorn, chosen: str, worker: str, way: str
) -> None:
    """No greenlet that goes on, no place that is taken, and no traceback in the log."""
    with (
        LiveServer(gunicorn, application=WRAPPED, worker=worker) as server,
        SlowUpload(server, chosen, 1000),
    ):
        before = wait_until(lambda: leftovers(server), "the first answer")
        streams = [Stream(server, chosen) for _ in range(10)]
        for stream in streams:
            assert stream.next_event()["state"] == "uploading"
        assert leftovers(server)["streams"] == 10
        began = time.monotonic()
        for stream in streams:
            stream.connection.reset() if way == "reset" else stream.connection.sock.close()
        wait_until(lambda: leftovers(server) == before, "the end of all streams")
        assert time.monotonic() - began < 10  # and not at the end of their time
    assert "Traceback" not in server.logs_of_ended[-1]


def test_a_worker_that_ends_is_not_held_up(gunicorn: Gunicorn, chosen: str) -> None:
    """By the streams that are open: their clients come back to another."""
    patience = ("--graceful-timeout", "30")
    with LiveServer(gunicorn, *patience, application=APPLICATION) as server:
        with Stream(server, chosen) as stream:
            assert stream.next_event()["state"] == "starting"
            server.signal(signal.SIGTERM)
            began = time.monotonic()
            assert stream.rest() == []
        server.wait()
        assert time.monotonic() - began < 8  # and not the 10 that it waits for an upload
        assert "graceful timeout" not in server.log()
