"""Progress of uploads on other workers, over HTTP/2, and where its ids are written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import MONITORING_PAGE
from http2_client import Http2Connection
from http_client import DEADLINE
from live_server import STOCK, Certificate, Gunicorn, LiveServer, wait_until
from progress_clients import (
    APPLICATION,
    EVENTS,
    LOG_WITHOUT_QUERIES,
    PIECE,
    TWO_WORKERS,
    WRAPPED,
    Asking,
    SlowUpload,
    Stream,
)

# On other servers


SHARED = "import cooperative_upload\ncooperative_upload.share_statistics()\n"


@contextlib.contextmanager
def wrapped(
    gunicorn: Gunicorn, tmp_path: Path, worker: str, *options: str
) -> Iterator[LiveServer]:
    config = tmp_path / "gunicorn.conf.py"
    config.write_text(SHARED)
    options = (*TWO_WORKERS, "--config", str(config), *options)
    with LiveServer(gunicorn, *options, application=WRAPPED, worker=worker) as server:
        wait_until(lambda: len(server.workers()) == 2, "two workers")
        yield server
    assert "Traceback" not in server.logs_of_ended[-1]


def test_with_the_wrapper(gunicorn: Gunicorn, tmp_path: Path, chosen: str) -> None:
    """On the stock worker: both workers know, and a stream is a stream."""
    with (
        wrapped(gunicorn, tmp_path, STOCK) as server,
        Stream(server, chosen) as stream,
        SlowUpload(server, chosen, 2 * len(PIECE)) as upload,
    ):
        assert stream.next_event()["state"] in ("starting", "uploading")
        with Asking(server, chosen, not_in=upload.worker) as ask:
            ask.wait_for(state="uploading", received=0)
            upload.send()
            # gunicorn's own reader gives blocks of 64 KiB.
            ask.wait_for(state="uploading", received=len(PIECE) // 65536 * 65536)
            upload.send()
            assert upload.finish().status == 200
            ask.wait_for(state="done", received=2 * len(PIECE), size=2 * len(PIECE))
        assert stream.rest()[-1]["state"] == "done"


@pytest.mark.parametrize(
    ("worker", "options"), [("sync", ()), ("gthread", ("--threads", "2"))], ids=["sync", "gthread"]
)
def test_where_no_hub_runs_the_request(
    newest: Gunicorn, tmp_path: Path, chosen: str, worker: str, options: tuple[str, ...]
) -> None:
    """One event, and the worker is free."""
    with wrapped(newest, tmp_path, worker, *options) as server:
        for _ in range(5):  # more than there are workers and threads
            with Stream(server, chosen, headers={"Connection": "close"}) as stream:
                assert stream.next_block() == {"retry": "1000"}
                assert [event["state"] for event in stream.rest()] == ["starting"]


def test_over_http2(gunicorn: Gunicorn, certificate: Certificate, chosen: str) -> None:
    """One event at once: the rest of the connection would wait for a stream."""
    options = ("--http-protocols", "h2,h1")
    with (
        LiveServer(gunicorn, *options, application=APPLICATION, certificate=certificate) as server,
        server.connect(protocols=("h2",)) as connection,
    ):
        http2 = Http2Connection(connection)
        headers = {"X-Progress-ID": chosen}
        assert http2.post("/swallow", PIECE, headers).status == 200
        ask = {**headers, **EVENTS}
        began = time.monotonic()
        for other in ("nobody-", ""):
            ask["X-Progress-ID"] = other + chosen
            answer = http2.response(http2.begin("GET", "/progress", ask, end=True))
            assert answer.body.count(b"data:") == 1
        assert b'"done"' in answer.body
        assert time.monotonic() - began < DEADLINE / 4


def test_an_upload_over_http2(gunicorn: Gunicorn, certificate: Certificate, chosen: str) -> None:
    """Seen from another connection while it goes on; up to gunicorn 26, when it is whole."""
    options = ("--http-protocols", "h2,h1")
    with (
        LiveServer(gunicorn, *options, application=APPLICATION, certificate=certificate) as server,
        server.connect(protocols=("h2",)) as connection,
        Asking(server, chosen) as ask,
    ):
        http2 = Http2Connection(connection)
        headers = {"X-Progress-ID": chosen, "Content-Length": str(2 * len(PIECE))}
        stream = http2.begin("POST", "/swallow", headers)
        http2.send(stream, PIECE[:50_000])
        if gunicorn.version >= (27,):
            told = ask.wait_for(state="uploading", size=2 * len(PIECE))
            assert told["received"] <= 50_000
        else:
            assert ask()["state"] == "starting"
        http2.send(stream, PIECE[50_000:])
        http2.send(stream, PIECE, end=True)
        assert http2.response(stream).status == 200
        ask.wait_for(state="done", received=2 * len(PIECE))


def test_an_access_log_without_ids(newest: Gunicorn, chosen: str) -> None:
    """By the format that docs/monitoring.md names, with the path of what was mounted."""
    assert f"`{LOG_WITHOUT_QUERIES}`" in MONITORING_PAGE.read_text()
    log = ("--access-logfile", "-", "--access-logformat", LOG_WITHOUT_QUERIES)
    with LiveServer(newest, *log, application=APPLICATION) as server:
        with Stream(server, chosen) as stream:
            assert stream.next_event()["state"] == "starting"
        with SlowUpload(server, chosen, 1000, in_query=True) as upload:
            upload.send(PIECE[:1000])
            assert upload.finish().status == 200
        server.wait_for_log("GET /progress HTTP/1.1")
        server.wait_for_log("POST /swallow HTTP/1.1")
        assert chosen not in server.log()


# What is not told


def test_an_id_in_the_header_stands_nowhere(server: LiveServer, chosen: str) -> None:
    """Not in a log, and not in what operators see."""
    before = len(server.log())
    with SlowUpload(server, chosen, 2000) as upload, Asking(server, chosen) as ask:
        upload.send(PIECE[:1000])
        ask.wait_for(received=1000)
        ask.connection.send_request("GET", "/overview")
        told = ask.connection.response().body.decode()
        assert "/swallow" in told
        assert chosen not in told
        upload.connection.vanish()
        ask.wait_for(state="error")
    wait_until(lambda: "Upload incomplete" in server.log()[before:], "a line in the log")
    assert chosen not in server.log()[before:]


def test_an_id_in_a_url_stands_in_the_access_log_alone(server: LiveServer, chosen: str) -> None:
    """Which says what was asked."""
    before = len(server.log())
    with SlowUpload(server, chosen, 2000, in_query=True) as upload:
        upload.send(PIECE[:1000])
        upload.connection.vanish()
    wait_until(lambda: "Upload incomplete" in server.log()[before:], "a line in the log")
    lines = [line for line in server.log()[before:].splitlines() if chosen in line]
    assert [" HTTP/1.1" in line for line in lines] == [True]
