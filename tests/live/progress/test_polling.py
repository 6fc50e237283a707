"""Progress of real uploads, asked for in the other of two workers: numbers, waits and errors."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from live_server import Gunicorn, LiveServer, wait_until
from progress_clients import APPLICATION, FRAMINGS, LARGEST, PIECE, Asking, SlowUpload

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
