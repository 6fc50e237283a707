"""What overview() tells of real servers: each number where its value is known."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from disk import small_file_system
from endings import EXAMPLES, LIMITS
from http_client import Connection, content, data_description, form_description, head
from live_server import STOCK, Certificate, Gunicorn, LiveServer, wait_for_other_worker, wait_until
from overviews import (
    APPLICATION,
    BODY,
    SIZE,
    Begin,
    Hold,
    InChunks,
    OverHttp2,
    WithLength,
    by_another_upload,
    by_draining,
    by_its_answer,
    by_its_client,
    by_its_view,
    by_others_work,
    by_the_disk,
    connect_to,
    numbers_added,
    numbers_of,
    told,
    told_by,
    wait_for_state,
    wait_for_uploads,
)
from uploads import EndlessUpload, HalfUpload

from cooperative_upload.monitoring.board import ENDINGS, GAUGES, NUMBERS
from cooperative_upload.monitoring.overview import STATES

LARGE = content(1_000_000)

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


# States

FRAMINGS: dict[str, type[WithLength]] = {
    "Content-Length": WithLength,
    "chunked": InChunks,
    "TLS": WithLength,
    "HTTP/2": OverHttp2,
}

HELD_UP: dict[str, Hold] = {
    "reading": by_its_view,
    "waiting for a place": by_another_upload,
    "waiting for its turn": by_others_work,
    "waiting for the client": by_its_client,
    "writing": by_the_disk,
    "draining": by_draining,
    "answering": by_its_answer,
}


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


def check_upload(upload: dict[str, Any], server: LiveServer, expected: int | None) -> None:
    """What is the same in all states."""
    assert upload["worker"] in server.workers()
    assert upload["id"].startswith(f"{upload['worker']}-")
    assert (upload["client"], upload["method"]) == ("127.0.0.1", "POST")
    assert upload["expected"] == expected
    assert 0 <= upload["received"] <= SIZE
    if upload["state"] == "reading":  # more than the first block was received with it, or not
        assert upload["received"] >= 64 * 1024
    if upload["state"] in ("waiting for a place", "waiting for its turn"):
        assert upload["received"] == 0
    assert 0 < upload["seconds"] < 20
    waits = [upload[f"waited_for_{what}"] for what in ("turns", "client", "disk")]
    assert all(wait >= 0 for wait in waits)
    assert sum(waits) <= upload["seconds"]


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


# Numbers that are not in endings.py


def announce_unread(server: LiveServer) -> None:
    """An upload that takes one turn: before its view is called, which does not read."""
    with server.connect() as connection:
        connection.send(head("POST", "/unread", {"Content-Length": "1000000"}))
        assert connection.response().body == b"unread"


def test_turns(plain_server: LiveServer) -> None:
    """One for each upload that needs no more; none for what is small."""
    with numbers_added(plain_server, turns=5, unread=5, complete=3, grants_by_deadline=0):
        for _ in range(5):
            announce_unread(plain_server)
        for _ in range(3):
            with plain_server.connect() as connection:
                assert connection.post("/data", BODY[:60_000]).status == 200


def test_grants_by_deadline(gunicorn: Gunicorn) -> None:
    """Where somebody is ready all the time, each turn is granted by it."""
    environment = {"COOPERATIVE_UPLOAD_DEADLINE_MS": "1"}
    with LiveServer(gunicorn, application=APPLICATION, environment=environment) as server:
        with numbers_added(server, turns=2, grants_by_deadline=0):
            announce_unread(server)
            announce_unread(server)
        with (
            server.connect() as connection,
            numbers_added(server, turns=3, grants_by_deadline=3),
        ):
            connection.send_request("POST", "/spin?name=busy", b"")
            wait_until(lambda: server_waits(server, "busy"), "somebody to be busy")
            for _ in range(3):
                announce_unread(server)
            with server.connect() as other:
                other.post("/go-on?name=busy", b"")
            assert connection.response().body == b"spun"


def server_waits(server: LiveServer, name: str) -> bool:
    with server.connect() as connection:
        connection.send_request("GET", f"/waiting?name={name}")
        return bool(connection.response().json()[0])


def test_loop_blocked(plain_server: LiveServer) -> None:
    """By a view that holds it for longer than half a second, and by no shorter one."""
    with numbers_added(plain_server, loop_blocked=1):
        for seconds in ("0.05", "0.8"):
            with plain_server.connect() as connection:
                assert connection.post(f"/hold?seconds={seconds}", b"").status == 200


def test_bytes_that_are_thrown_away(plain_server: LiveServer) -> None:
    """Those that are drained, and those of a connection that lingers, which is no upload."""
    expected = {
        "drained": 1,
        "unread": 1,
        "lingered": 1,
        "lingering": 0,
        "uploads": 0,
        "bytes": SIZE + len(LARGE),
        "lingered_bytes": len(LARGE),
    }
    with numbers_added(plain_server, **expected):
        with plain_server.connect() as connection:
            assert connection.post("/unread", BODY).status == 200
        with plain_server.connect() as connection:
            connection.send(head("POST", "/unread", {"Content-Length": str(len(LARGE))}))
            assert connection.response().status == 200
            wait_until(lambda: numbers_of(plain_server)["lingering"] == 1, "it lingers")
            assert told(plain_server)["uploads"] == []
            assert numbers_of(plain_server)["uploads"] == 0
            connection.send(LARGE)


def test_arrival_and_turn_wait(plain_server: LiveServer) -> None:
    """Each upload is in both histograms once, in the classes of what it was held up for."""
    before = told(plain_server)
    with plain_server.connect() as connection:

        def begin(path: str, headers: dict[str, str]) -> WithLength:
            return WithLength(connection, path, headers)

        for hold in (by_its_client, by_others_work):
            with hold(plain_server, begin) as held:
                wait_until(
                    lambda held=held: age_of(plain_server, held.path) > 0.6,  # type: ignore[misc]
                    "more than half a second",
                )
    wait_for_uploads(plain_server, 0)
    now = told(plain_server)
    assert classes_added(before, now, "arrival", above=0.5) == 2
    assert classes_added(before, now, "turn_wait", above=0.5) == 1
    assert 1.1 < now["arrival"]["sum"] - before["arrival"]["sum"] < 20
    assert 0.5 < now["turn_wait"]["sum"] - before["turn_wait"]["sum"] < 20


def age_of(server: LiveServer, path: str) -> float:
    ages = [each["seconds"] for each in told(server)["uploads"] if each["path"] == path]
    return max(ages, default=0.0)


def classes_added(before: dict[str, Any], now: dict[str, Any], name: str, above: float) -> int:
    """How many values above a bound a histogram got."""
    first = before[name]["bounds"].index(above) + 1
    counts: list[int] = now[name]["counts"]
    counts_before: list[int] = before[name]["counts"]
    return sum(counts[first:]) - sum(counts_before[first:])


# Every ending


@pytest.fixture(scope="module")
def limited_server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    with small_file_system(2_000_000) as directory:
        environment = {**LIMITS, "COOPERATIVE_UPLOAD_SPOOL_DIRECTORY": str(directory)}
        with LiveServer(gunicorn, application=APPLICATION, environment=environment) as server:
            yield server


@pytest.mark.parametrize("ending", EXAMPLES)
def test_no_upload_is_left_behind(limited_server: LiveServer, ending: str) -> None:
    """However it ends it is told no more, counted once, and its response in one histogram."""
    before = told(limited_server)
    added = {**dict.fromkeys(ENDINGS, 0), ending: 1}
    with numbers_added(limited_server, **added), limited_server.connect() as connection:
        EXAMPLES[ending].behave(connection)
        assert connection.response().status == EXAMPLES[ending].status
    now = told(limited_server)
    assert now["uploads"] == []
    assert (now["numbers"]["uploads"], now["workers"][0]["uploads"]) == (0, 0)
    for name in ("arrival", "turn_wait"):
        assert sum(now[name]["counts"]) - sum(before[name]["counts"]) == 1
    wait_until(lambda: not numbers_of(limited_server)["lingering"], "nothing lingers")


def test_nothing_is_left_of_clients_that_vanish(gunicorn: Gunicorn) -> None:
    """At any point, in the middle of a wait too."""
    environment = {
        "COOPERATIVE_UPLOAD_MAX_UPLOADS": "1",
        "COOPERATIVE_UPLOAD_MAX_UPLOADS_WAIT_SECONDS": "0.3",
    }
    with LiveServer(gunicorn, application=APPLICATION, environment=environment) as server:
        with numbers_added(server, uploads=0, incomplete=4, turned_away=4):
            for goodbye in (Connection.reset, Connection.die, Connection.vanish):
                with server.connect() as first, server.connect() as second:
                    first.send(head("POST", "/stream", {"Content-Length": str(SIZE)}) + BODY[:9])
                    wait_for_state(server, "waiting for the client", "/stream")
                    # Too large to be drained, by which it would end instead.
                    size = str(len(LARGE))
                    second.send(head("POST", "/data", {"Content-Length": size}) + LARGE[:9])
                    wait_for_state(server, "waiting for a place", "/data")
                    goodbye(second)
                    wait_for_uploads(server, 1)
                    goodbye(first)
                    wait_for_uploads(server, 0)
            with HalfUpload(server), server.connect() as second:
                assert second.post("/data", LARGE).status == 503
        wait_for_uploads(server, 0)


# Several workers


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


# The middleware on the workers of others


SHARING = ("--config", "python:sharing_statistics")


@pytest.fixture(params=[STOCK, "gevent_pywsgi"])
def worker_class(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("shared", [True, False])
def test_middleware(gunicorn: Gunicorn, worker_class: str, shared: bool) -> None:
    """With the memory made before the fork all workers tell of all, else each of itself."""
    options = ("--workers", "2", *(SHARING if shared else ()))
    with LiveServer(
        gunicorn, *options, application="overview_application:wrapped()", worker=worker_class
    ) as server:
        one, other = wait_until(
            lambda: server.workers() if len(server.workers()) == 2 else None, "both workers"
        ) or [0, 0]
        with connect_to(server, one) as first, connect_to(server, other) as second:
            for connection in (first, second):
                connection.send(head("POST", "/stream", {"Content-Length": str(SIZE)}))
                connection.send(BODY[: SIZE // 2])
            for worker in (one, other):
                with connect_to(server, worker) as asking:
                    told_of = sorted([one, other]) if shared else [worker]
                    wait_until(
                        lambda asking=asking, told_of=told_of: (
                            told_of  # type: ignore[misc]
                            == sorted(each["worker"] for each in told_by(asking)["uploads"])
                        ),
                        "the halves are told",
                    )
                    now = told_by(asking)
                    assert sorted(each["pid"] for each in now["workers"]) == told_of
                    assert {each["expected"] for each in now["uploads"]} == {SIZE}
            second.sock.close()
            first.send(BODY[SIZE // 2 :])
            assert first.response().json() == data_description(BODY)
        with connect_to(server, one) as asking:
            expected = {"complete": 1, "incomplete": int(shared), "uploads": 0}
            wait_until(
                lambda: told_by(asking)["numbers"].items() >= expected.items(), "the endings"
            )
            assert told_by(asking)["uploads"] == []
        server.wait_for_log("Upload incomplete: POST /stream from 127.0.0.1, ")
        assert "complete: POST /stream from 127.0.0.1, 200,000" not in server.log()
        assert server.log().count("[INFO] cooperative_upload: Upload ") == 1


def test_middleware_behind_a_worker_that_was_killed(newest: Gunicorn, worker_class: str) -> None:
    """Its numbers stay, and its upload is a killed one."""
    with LiveServer(
        newest, *SHARING, application="overview_application:wrapped()", worker=worker_class
    ) as server:
        (old,) = server.workers()
        with server.connect() as connection:
            assert connection.post("/data", BODY).status == 200
        with server.connect() as connection:
            connection.send(head("POST", "/stream", {"Content-Length": str(SIZE)}) + BODY[:9])
            wait_for_uploads(server, 1)
            os.kill(old, signal.SIGKILL)
            new = wait_for_other_worker(server, old)
        now = told(server)
        assert (now["uploads"], [each["pid"] for each in now["workers"]]) == ([], [new])
        assert (now["numbers"]["complete"], now["numbers"]["killed"]) == (1, 1)


@pytest.mark.parametrize("state", ["reading", "waiting for the client", "answering", "writing"])
def test_states_with_the_middleware(newest: Gunicorn, worker_class: str, state: str) -> None:
    """It tells them in the same way."""
    with (
        LiveServer(
            newest, application="overview_application:wrapped()", worker=worker_class
        ) as server,
        server.connect() as connection,
    ):
        begin: Begin = lambda path, headers: WithLength(connection, path, headers)  # noqa: E731
        with HELD_UP[state](server, begin) as held:
            upload = wait_for_state(server, state, held.path)
            check_upload(upload, server, SIZE)
        assert held.response is not None
        assert held.response.status == 200
        wait_for_uploads(server, 0)
