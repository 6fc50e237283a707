"""Progress of real uploads, asked for in the other of two workers, by polling and as events."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from checkout import MONITORING_PAGE
from http2_client import Http2Connection
from http_client import DEADLINE, Connection, Response, chunk, content, head
from live_server import STOCK, Certificate, Gunicorn, LiveServer, wait_until
from progress_application import LONGEST, WAIT

APPLICATION = "progress_application:application"
WRAPPED = "progress_application:wrapped()"
TWO_WORKERS = ("--workers", "2")
LARGEST = 5_000_000  # bytes of the largest body that the server takes
PIECE = content(300_000)
EVENTS = {"Accept": "text/event-stream"}

FRAMINGS = ["Content-Length", "chunked"]

LOG_WITHOUT_QUERIES = "%(m)s %({script_name}e)s%(U)s %(H)s"


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


class SlowUpload:
    """An upload that sends when it is told to; a context manager.

    announced: bytes of a body with Content-Length; None for one in chunks.
    sent: bytes of the body that were sent so far.
    """

    def __init__(
        self,
        server: LiveServer,
        chosen: str,
        announced: int | None,
        *,
        path: str = "/swallow",
        in_query: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.connection = server.connect()
        self.sent = 0
        self._announced = announced
        self.connection.send_request("GET", "/pid")
        self.worker = int(self.connection.response().body)
        fields = {} if in_query else {"X-Progress-ID": chosen}
        if announced is None:
            fields["Transfer-Encoding"] = "chunked"
        else:
            fields["Content-Length"] = str(announced)
        if in_query:
            path += f"{'&' if '?' in path else '?'}X-Progress-ID={chosen}"
        self.connection.send(head("POST", path, {**fields, **(headers or {})}))

    def __enter__(self) -> SlowUpload:
        return self

    def __exit__(self, *exc: object) -> None:
        self.connection.sock.close()

    def send(self, data: bytes = PIECE) -> None:
        self.sent += len(data)  # before, so that nobody can have received more
        self.connection.send(data if self._announced is not None else chunk(data))

    def finish(self) -> Response:
        if self._announced is None:
            self.connection.send(b"0\r\n\r\n")
        return self.connection.response()


class Asking:
    """Asks for the progress of one upload on a connection of its own; a context manager.

    not_in: the worker that shall not answer, if there are several; 0 for any.
    """

    def __init__(self, server: LiveServer, chosen: str, *, not_in: int = 0) -> None:
        self._chosen = chosen
        self.connection = wait_until(
            lambda: self._connection(server, not_in), "a connection to another worker"
        )

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *exc: object) -> None:
        self.connection.sock.close()

    def __call__(self, path: str = "/progress") -> Any:
        self.connection.send_request("GET", path, headers={"X-Progress-ID": self._chosen})
        return self.connection.response().json()

    def wait_for(self, **expected: Any) -> Any:
        """The first answer with these values."""
        seen: Any = None

        def as_expected() -> Any:
            nonlocal seen
            seen = self()
            return seen if expected.items() <= seen.items() else None

        try:
            return wait_until(as_expected, f"{expected}")
        except AssertionError as error:
            error.args = (f"{error}; the last was {seen}",)
            raise

    @staticmethod
    def _connection(server: LiveServer, not_in: int) -> Connection | None:
        connection = server.connect()
        connection.send_request("GET", "/pid")
        if int(connection.response().body) != not_in:
            return connection
        connection.sock.close()
        return None


class Stream:
    """A stream of events that is read by hand; a context manager."""

    def __init__(
        self,
        server: LiveServer,
        chosen: str,
        *,
        path: str = "/progress",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.connection = server.connect()
        query = f"{path}?X-Progress-ID={chosen}"
        self.connection.send_request("GET", query, headers={**EVENTS, **(headers or {})})
        status, *lines = self.connection._until(b"\r\n\r\n").decode().split("\r\n")
        self.status = int(status.split()[1])
        self.headers = dict(line.split(": ", 1) for line in lines)
        self.blocks: list[dict[str, str]] = []

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.connection.sock.close()

    def next_block(self) -> dict[str, str] | None:
        """The fields of the next block, a comment as {"": ""}; None at the end."""
        size = int(self.connection._until(b"\r\n"), 16)
        text = self.connection._exactly(size).decode()
        self.connection._exactly(2)
        if not size:
            return None
        assert text.endswith("\n\n")
        assert text.count("\n\n") == 1
        lines = [line.partition(":") for line in text.removesuffix("\n\n").split("\n")]
        block = {name: value.strip() for name, _, value in lines}
        self.blocks.append(block)
        return block

    def next_event(self) -> Any:
        """What the next event tells; None at the end."""
        while (block := self.next_block()) is not None:
            if "data" in block:
                return json.loads(block["data"])
        return None

    def rest(self) -> list[Any]:
        """All events up to the end."""
        return list(iter(self.next_event, None))


# Numbers


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("in_query", [False, True], ids=["header", "query"])
def test_it_is_told_what_was_received(
    server: LiveServer, chosen: str, framing: str, in_query: bool
) -> None:
    """From the headers on, in the worker that does not receive it, until it is done and after."""
    pieces = 4
    size = pieces * len(PIECE) if framing == "Content-Length" else None
    with (
        SlowUpload(server, chosen, size, in_query=in_query) as upload,
        Asking(server, chosen, not_in=upload.worker) as ask,
    ):
        assert ask.wait_for(state="uploading")["received"] == 0
        assert (ask()["size"], ask()["status"], ask()["ending"]) == (size, 0, None)
        before = 0
        for _ in range(pieces):
            upload.send()
            told = ask()
            assert before <= told["received"] <= upload.sent
            before = ask.wait_for(received=upload.sent)["received"]
        assert upload.finish().status == 200
        told = ask.wait_for(state="done")
        assert told["received"] == upload.sent == pieces * len(PIECE)
        assert (told["size"], told["status"], told["ending"]) == (size, 200, "complete")
        assert ask()["state"] == "done"


@pytest.mark.parametrize("framing", FRAMINGS)
def test_never_more_than_was_sent_and_never_less_than_before(
    server: LiveServer, chosen: str, framing: str
) -> None:
    """While it is sent as fast as it goes, asked for all the time."""
    pieces = 16
    size = pieces * len(PIECE) if framing == "Content-Length" else None
    with (
        SlowUpload(server, chosen, size) as upload,
        Asking(server, chosen, not_in=upload.worker) as ask,
    ):
        ask.wait_for(state="uploading")
        sending = threading.Thread(target=upload.send, args=(PIECE * pieces,))
        sending.start()
        received = [0]
        while received[-1] < pieces * len(PIECE):
            told = ask()
            assert told["received"] <= upload.sent
            received.append(told["received"])
        sending.join()
        assert received == sorted(received)
        upload.finish()
        assert ask.wait_for(state="done")["received"] == upload.sent


def test_a_rate_is_told(server: LiveServer, chosen: str) -> None:
    """Bytes a second: never more than all that was sent, in a second that has just begun."""
    with SlowUpload(server, chosen, None) as upload, Asking(server, chosen) as ask:
        ask.wait_for(state="uploading", rate=0)

        def told() -> Any:
            upload.send(PIECE[:10_000])
            return ask()["rate"]

        assert 0 < wait_until(told, "a rate") <= upload.sent


def test_an_id_that_nobody_uses(server: LiveServer, chosen: str) -> None:
    with Asking(server, chosen) as ask:
        told = ask()
        assert (told["state"], told["received"], told["size"]) == ("starting", 0, None)
        ask.connection.send_request("GET", "/progress")
        assert ask.connection.response().status == 400


# Before the first byte


def test_while_it_waits_for_100_continue(server: LiveServer, chosen: str, tmp_path: Path) -> None:
    """The client sends nothing before the application reads."""
    until = tmp_path / "go-on"
    expect = {"Expect": "100-continue"}
    path = f"/hold?until={until}"
    with (
        SlowUpload(server, chosen, len(PIECE), path=path, headers=expect) as upload,
        Asking(server, chosen, not_in=upload.worker) as ask,
    ):
        told = ask.wait_for(state="uploading")
        assert (told["received"], told["size"]) == (0, len(PIECE))
        assert not upload.connection.has_answer()
        until.touch()
        assert upload.connection.response().status == 100
        assert ask()["received"] == 0
        upload.send()
        assert upload.finish().status == 200
        assert ask.wait_for(state="done")["received"] == len(PIECE)


def test_while_it_waits_for_a_place(newest: Gunicorn, chosen: str) -> None:
    environment = {
        "COOPERATIVE_UPLOAD_MAX_UPLOADS": "1",
        "COOPERATIVE_UPLOAD_MAX_UPLOADS_WAIT_SECONDS": "30",
    }
    with (
        LiveServer(newest, application=APPLICATION, environment=environment) as server,
        SlowUpload(server, "x" * 16, len(PIECE)) as first,
        Asking(server, "x" * 16) as ask,
    ):
        first.send(PIECE[:100_000])
        ask.wait_for(received=100_000)
        with SlowUpload(server, chosen, len(PIECE)) as upload, Asking(server, chosen) as ask:
            upload.send()
            assert ask.wait_for(state="uploading")["received"] == 0
            first.send(PIECE[100_000:])
            assert first.finish().status == 200
            assert upload.finish().status == 200
            ask.wait_for(state="done", received=len(PIECE))


# Errors


@pytest.mark.parametrize("framing", FRAMINGS)
def test_cut_off(server: LiveServer, chosen: str, framing: str) -> None:
    size = 2 * len(PIECE) if framing == "Content-Length" else None
    with (
        SlowUpload(server, chosen, size) as upload,
        Asking(server, chosen, not_in=upload.worker) as ask,
    ):
        upload.send()
        ask.wait_for(state="uploading", received=len(PIECE))
        upload.connection.vanish()
        told = ask.wait_for(state="error")
        assert (told["received"], told["ending"]) == (len(PIECE), "incomplete")


def test_announced_as_too_large(server: LiveServer, chosen: str) -> None:
    with SlowUpload(server, chosen, LARGEST + 1) as upload, Asking(server, chosen) as ask:
        assert upload.connection.response().status == 413
        told = ask.wait_for(state="error")
        assert (told["status"], told["ending"]) == (413, "too_large")
        assert told["received"] == 0


def test_found_to_be_too_large(server: LiveServer, chosen: str) -> None:
    """A body in chunks, which is counted."""
    with SlowUpload(server, chosen, None) as upload, Asking(server, chosen) as ask:
        for _ in range(LARGEST // len(PIECE) + 1):
            upload.send()
        told = ask.wait_for(state="error")
        assert (told["status"], told["ending"]) == (413, "too_large")
        assert LARGEST < told["received"] <= upload.sent


def test_refused_while_its_rest_is_waited_for(server: LiveServer, chosen: str) -> None:
    """Its client has the answer, and its error is told at once."""
    with (
        SlowUpload(server, chosen, 1000, path="/refuse") as upload,
        Asking(server, chosen, not_in=upload.worker) as ask,
    ):
        upload.send(PIECE[:10])
        assert upload.connection.response().status == 401
        told = ask.wait_for(state="error")
        assert (told["status"], told["ending"]) == (401, None)
        upload.send(PIECE[:990])
        told = ask.wait_for(state="error", ending="drained")
        assert (told["status"], told["received"]) == (401, 1000)


def test_accepted_without_being_read(server: LiveServer, chosen: str) -> None:
    with (
        SlowUpload(server, chosen, 1000, path="/have-it-already") as upload,
        Asking(server, chosen) as ask,
    ):
        upload.send(PIECE[:1000])
        assert upload.finish().status == 200
        ask.wait_for(state="done", received=1000, ending="drained")


@pytest.mark.parametrize("path", ["/fail", "/fail-behind-the-start"])
def test_an_application_that_fails(gunicorn: Gunicorn, chosen: str, path: str) -> None:
    """Behind the last byte: what came whole was not done."""
    with (
        LiveServer(gunicorn, application=APPLICATION) as server,
        SlowUpload(server, chosen, 100_000, path=path) as upload,
        Asking(server, chosen) as ask,
    ):
        upload.send(PIECE[:100_000])
        assert upload.finish().status == 500
        ask.wait_for(state="error", received=100_000, ending="complete")


def test_a_worker_that_is_killed(server: LiveServer, chosen: str) -> None:
    """Told by the other at once, and by the one that takes its place."""
    with (
        SlowUpload(server, chosen, 2 * len(PIECE)) as upload,
        Asking(server, chosen, not_in=upload.worker) as ask,
    ):
        upload.send()
        ask.wait_for(state="uploading", received=len(PIECE))
        os.kill(upload.worker, signal.SIGKILL)
        told = ask.wait_for(state="error")
        assert (told["received"], told["status"]) == (len(PIECE), 0)
        assert told["ending"] == "killed"

    def replaced() -> bool:
        workers = server.workers()
        return len(workers) == 2 and upload.worker not in workers

    wait_until(replaced, "another worker")
    for worker in server.workers():
        with Asking(server, chosen, not_in=worker) as ask:
            assert ask()["ending"] == "killed"


def test_another_try_with_the_same_id(server: LiveServer, chosen: str) -> None:
    """The newest counts, also while nobody has noticed the end of the first."""
    with SlowUpload(server, chosen, 1_000_000) as first, Asking(server, chosen) as ask:
        first.send()
        ask.wait_for(received=len(PIECE))
        with SlowUpload(server, chosen, 2 * len(PIECE)) as second:
            assert ask.wait_for(state="uploading", size=2 * len(PIECE))["received"] == 0
            first.connection.vanish()
            second.send()
            second.send()
            assert second.finish().status == 200
            ask.wait_for(state="done", received=2 * len(PIECE))


# Events


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
