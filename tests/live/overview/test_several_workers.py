"""What overview() tells of several workers, also of those that are killed or restart."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator

import pytest
from http_client import Connection, data_description, form_description, head
from live_server import Gunicorn, LiveServer, wait_for_other_worker, wait_until
from overviews import (
    APPLICATION,
    BODY,
    SIZE,
    connect_to,
    numbers_added,
    numbers_of,
    told,
    told_by,
    wait_for_uploads,
)
from uploads import EndlessUpload, HalfUpload

from cooperative_upload.monitoring.board import ENDINGS, GAUGES, NUMBERS


def running(server: LiveServer) -> list[int]:
    """The workers that are told, once they are those that run."""

    def same() -> list[int] | None:
        workers = [worker["pid"] for worker in told(server)["workers"]]
        return workers if sorted(workers) == sorted(server.workers()) else None

    return wait_until(same, "all workers are told") or []


@contextlib.contextmanager
def halves(server: LiveServer, *workers: int) -> Iterator[list[Connection]]:
    """A connection to each worker, on which half of an upload has arrived."""
    with contextlib.ExitStack() as stack:
        connections = []
        for worker in workers:
            connection = stack.enter_context(connect_to(server, worker))
            connection.send(head("POST", "/stream", {"Content-Length": str(SIZE)}))
            connection.send(BODY[: SIZE // 2])
            connections.append(connection)
        wait_until(lambda: all_received(server, len(workers)), "the halves arrive")
        yield connections


def all_received(server: LiveServer, number: int) -> bool:
    uploads = told(server)["uploads"]
    return [each["received"] for each in uploads] == [SIZE // 2] * number


@pytest.mark.parametrize("number", [2, 3])
def test_several_workers(gunicorn: Gunicorn, number: int) -> None:
    """Any of them tells of all, and all tell the same."""
    with LiveServer(gunicorn, "--workers", str(number), application=APPLICATION) as server:
        wait_until(lambda: len(running(server)) == number, "all workers")
        workers = running(server)
        with (
            numbers_added(server, complete=number, bytes=number * SIZE, uploads=0),
            halves(server, *workers) as connections,
        ):
            for worker in workers:
                with connect_to(server, worker) as connection:
                    now = told_by(connection)
                assert [each["pid"] for each in now["workers"]] == workers
                assert [each["uploads"] for each in now["workers"]] == [1] * number
                assert sorted(each["worker"] for each in now["uploads"]) == sorted(workers)
                assert now["numbers"]["uploads"] == number
            for connection in connections:
                connection.send(BODY[SIZE // 2 :])
                assert connection.response().json() == data_description(BODY)
        assert told(server)["uploads"] == []


def test_worker_that_is_killed(gunicorn: Gunicorn) -> None:
    """Its uploads are killed, with the bytes that they had; those of the others go on."""
    with LiveServer(gunicorn, "--workers", "2", application=APPLICATION) as server:
        wait_until(lambda: len(running(server)) == 2, "both workers")
        with numbers_added(server, complete=1), server.connect() as connection:
            assert connection.post("/data", BODY).status == 200
        for _ in range(2):
            doomed, other = running(server)
            added = {**dict.fromkeys(ENDINGS, 0), "killed": 1, "complete": 1}
            with (
                numbers_added(server, **added, bytes=SIZE + SIZE // 2, uploads=0),
                halves(server, doomed, other) as (first, second),
            ):
                os.kill(doomed, signal.SIGKILL)
                assert first.response_or_none() is None
                (upload,) = wait_for_uploads(server, 1)
                assert upload["worker"] == other
                second.send(BODY[SIZE // 2 :])
                assert second.response().json() == data_description(BODY)
            wait_until(lambda doomed=doomed: doomed not in running(server), "another worker")  # type: ignore[misc]
            assert len(running(server)) == 2
            assert told(server)["uploads"] == []


def test_worker_that_stands_still(gunicorn: Gunicorn) -> None:
    """Another tells since when, and how far its uploads are; gunicorn kills it, with them."""
    options = ("--workers", "2", "--timeout", "3")
    with LiveServer(gunicorn, *options, application=APPLICATION) as server:
        wait_until(lambda: len(running(server)) == 2, "both workers")
        still, other = running(server)
        with (
            connect_to(server, other) as asking,
            halves(server, still) as (half,),
            connect_to(server, still) as holding,
        ):
            holding.send_request("POST", "/hold?seconds=60", b"")

            def silence() -> dict[int, float]:
                return {
                    worker["pid"]: worker["silent_seconds"]
                    for worker in told_by(asking)["workers"]
                }

            wait_until(lambda: silence().get(still, 0.0) > 1, "it is silent for a second")
            now = told_by(asking)
            assert [each["worker"] for each in now["uploads"]] == [still]
            assert now["uploads"][0]["received"] == SIZE // 2
            assert silence()[other] < 1
            wait_until(lambda: told_by(asking)["numbers"]["killed"] == 1, "it is killed")
            assert told_by(asking)["uploads"] == []
            # gunicorn asks it to abort first, which ends the view that holds it.
            response = half.response_or_none()
            assert response is None or response.status == 503
        wait_until(lambda: still not in running(server), "another worker")
        assert numbers_of(server)["killed"] == 1
        assert "WORKER TIMEOUT" in server.log()


def test_workers_that_restart(gunicorn: Gunicorn) -> None:
    """Behind max_requests: each goes on with the numbers of the last."""
    with LiveServer(gunicorn, "--max-requests", "5", application=APPLICATION) as server:
        workers = server.workers()
        for uploads in range(1, 4):
            with server.connect() as connection:
                assert connection.post("/data", BODY).status == 200
            for _ in range(5):
                with contextlib.suppress(OSError, EOFError), server.connect() as connection:
                    connection.ping()
            workers.append(wait_for_other_worker(server, *workers))
            wait_until(lambda: running(server) == workers[-1:], "the old worker's end")
            assert numbers_of(server)["complete"] == uploads
            assert numbers_of(server)["bytes"] == uploads * SIZE


@pytest.mark.parametrize("options", [(), ("--preload",)])
def test_reload_by_hup(gunicorn: Gunicorn, options: tuple[str, ...]) -> None:
    """The old worker's numbers stay, and what it still does is told and counted."""
    patience = ("--graceful-timeout", "15")
    with LiveServer(gunicorn, *options, *patience, application=APPLICATION) as server:
        (old,) = server.workers()
        with numbers_added(server, complete=2, uploads=0):
            with server.connect() as connection:
                assert connection.post("/data", BODY).status == 200
            with HalfUpload(server) as upload:
                server.wait_for_spool()
                server.signal(signal.SIGHUP)
                new = wait_for_other_worker(server, old)
                (half,) = wait_for_uploads(server, 1)
                assert half["worker"] == old
                assert [each["pid"] for each in told(server)["workers"]] == [old, new]
                assert upload.finish().json() == form_description(upload.part)
            wait_until(lambda: running(server) == [new], "the old worker's end")
        assert not server.own_tracebacks()


def test_reload_that_cannot_wait(newest: Gunicorn) -> None:
    """Uploads that are cut are killed ones, counted once although their worker ends."""
    with LiveServer(newest, "--graceful-timeout", "1", application=APPLICATION) as server:
        (old,) = server.workers()
        with HalfUpload(server) as upload, numbers_added(server, killed=1):
            server.wait_for_spool()
            server.signal(signal.SIGHUP)
            assert upload.connection.response().status == 503
        wait_for_other_worker(server, old)
        wait_until(lambda: old not in running(server), "the old worker's end")
        assert numbers_of(server)["killed"] == 1


def test_more_workers_than_sheets(newest: Gunicorn) -> None:
    """The one without serves as well, and tells of itself; the next one has its place."""
    options = ("--config", "python:one_sheet")
    with LiveServer(newest, *options, application=APPLICATION) as server:
        (first,) = running(server)
        server.signal(signal.SIGTTIN)
        (second,) = wait_until(
            lambda: [pid for pid in server.workers() if pid != first], "a second worker"
        )
        with connect_to(server, second) as connection:
            assert connection.post("/data", BODY).status == 200
            now = told_by(connection)
            assert [each["pid"] for each in now["workers"]] == [first, second]
            assert now["numbers"]["complete"] == 1
        with connect_to(server, first) as connection:
            assert connection.post("/data", BODY).status == 200
            now = told_by(connection)
            assert [each["pid"] for each in now["workers"]] == [first]
            assert now["numbers"]["complete"] == 1
        server.signal(signal.SIGTTOU)  # ends the oldest
        wait_until(lambda: server.workers() == [second], "the first worker's end")
        os.kill(second, signal.SIGKILL)
        third = wait_for_other_worker(server, first, second)
        now = told(server)
        assert [each["pid"] for each in now["workers"]] == [third]
        assert now["numbers"]["complete"] == 1


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGQUIT])
def test_end_of_the_server(gunicorn: Gunicorn, ending: signal.Signals) -> None:
    """The master tells all that was counted; it is no worker itself."""
    options = ("--graceful-timeout", "2", "--config", "python:telling_at_exit")
    with LiveServer(gunicorn, *options, application=APPLICATION) as server:
        with server.connect() as connection:
            assert connection.post("/data", BODY).status == 200
        with HalfUpload(server) as stalled, EndlessUpload(server, "/swallow") as fast:
            server.wait_for_spool()
            fast.wait_for(1_000_000)
            server.signal(ending)
            server.wait()
            if ending == signal.SIGTERM:
                assert stalled.connection.response().status == 503
        last = json.loads((server.directory / "numbers.json").read_text())
    assert last["uploads"] == []
    assert server.pid not in [worker["pid"] for worker in last["workers"]]
    numbers = last["numbers"]
    assert {name: numbers[name] for name in (*ENDINGS, *GAUGES)} == {
        **dict.fromkeys((*ENDINGS, *GAUGES), 0),
        "complete": 1,
        "killed": 2,
    }
    assert set(numbers) == set(NUMBERS)
    assert numbers["bytes"] > SIZE + 1_000_000
