"""What a statsd server gets from real servers: every number, once, from whichever worker."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_client import content, data_description, head
from live_server import Gunicorn, LiveServer, wait_until
from statsd_server import StatsdServer
from uploads import HalfUpload

WORKERS = 2
APPLICATION = "ending_application:application"
BODY = content(100_000)
LARGE = content(1_000_000)

KNOWN = {"ended.complete": 5, "ended.drained": 1, "ended.unread": 1, "ended.incomplete": 1}
KNOWN_BYTES = 5 * len(BODY) + len(BODY) + 5000

# How often turns were taken depends on the machine; what is thrown away, on when it came.
_PASSING = frozenset({"turns", "grants_by_deadline", "loop_blocked", "lingered", "lingered_bytes"})


@pytest.fixture(params=["UDP", "Unix"])
def statsd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StatsdServer]:
    with StatsdServer(tmp_path if request.param == "Unix" else None) as server:
        yield server


def live(gunicorn: Gunicorn, statsd: StatsdServer, *options: str) -> LiveServer:
    workers = ("--workers", str(WORKERS))
    return LiveServer(
        gunicorn,
        *(*workers, *statsd.option(), *options),
        application=APPLICATION,
        ready=wait_for_every_worker,
    )


def wait_for_every_worker(server: LiveServer) -> None:
    """One that is told to end while it boots does not hear it."""
    answered: set[int] = set()

    def all_answered() -> bool:
        answered.add(server.answering_worker())
        return set(server.workers()) <= answered

    wait_until(lambda: "Booting worker" in server.log(), "a worker")
    wait_until(all_answered, "an answer from each worker")


def upload(server: LiveServer) -> None:
    with server.connect() as connection:
        assert connection.post("/data", BODY).json() == data_description(BODY)


def upload_in_known_ways(server: LiveServer) -> None:
    """As KNOWN says. What the statsd server gets of it is sent at the latest when all end."""
    for _ in range(5):
        upload(server)
    with server.connect() as connection:
        assert connection.post("/unread", BODY).status == 200
        connection.ping()  # behind the body, which is drained by then
    with server.connect() as connection:
        connection.send(head("POST", "/unread", {"Content-Length": str(len(LARGE))}))
        assert connection.response().status == 200
    with server.connect() as connection:
        connection.send(head("POST", "/data", {"Content-Length": str(len(BODY))}) + BODY[:5000])
        connection.end_sending()
        assert connection.response().status == 400


def counted(statsd: StatsdServer) -> dict[str, float]:
    """Without what depends on the machine."""
    counters = statsd.counters()
    return {name: number for name, number in counters.items() if name not in _PASSING}


def check_known(statsd: StatsdServer) -> None:
    """Exactly that, also when nothing more is to come."""
    assert counted(statsd) == {**KNOWN, "bytes": KNOWN_BYTES}
    assert statsd.counters()["turns"] >= 5
    for name in ("arrival", "turn_wait", "client_wait", "disk_wait"):
        # A Unix socket whose queue is full gets none.
        assert len(statsd.timers(name)) == sum(KNOWN.values()) or "unix" in statsd.address
        assert all(0 <= each < 20_000 for each in statsd.timers(name))
    assert statsd.gauges()["in_progress"] == 0


def test_known_uploads(gunicorn: Gunicorn, statsd: StatsdServer) -> None:
    """Each is in the sums, once, while the server runs and when it has ended."""
    with live(gunicorn, statsd) as server:
        upload_in_known_ways(server)
        expected = {**KNOWN, "bytes": KNOWN_BYTES}
        wait_until(lambda: counted(statsd) == expected, f"{expected}")
        server.signal(signal.SIGTERM)
        server.wait()
        assert not server.own_tracebacks()
    statsd.close()
    check_known(statsd)


def test_workers_that_end_send_the_rest(gunicorn: Gunicorn, statsd: StatsdServer) -> None:
    """What they have counted within the last second, also if they end at once."""
    with live(gunicorn, statsd) as server:
        upload_in_known_ways(server)
        server.stop()
    statsd.close()
    check_known(statsd)


@pytest.mark.parametrize("statsd", ["UDP"], indirect=True)
def test_upload_in_progress(gunicorn: Gunicorn, statsd: StatsdServer) -> None:
    """Of all workers, and what is said of their loops."""
    with live(gunicorn, statsd) as server, HalfUpload(server), HalfUpload(server):
        wait_until(lambda: statsd.gauges().get("in_progress") == 2, "a gauge of two")
        wait_until(lambda: "loop_silent_max" in statsd.gauges(), "gauges of loops")
        gauges = statsd.gauges()
        assert 0 <= gauges["loop_lag_max"] < 20_000
        assert 0 <= gauges["loop_silent_max"] < 20_000
        assert gauges["lingering"] == 0


@pytest.mark.parametrize("statsd", ["UDP"], indirect=True)
def test_worker_that_is_killed(gunicorn: Gunicorn, statsd: StatsdServer) -> None:
    """Another one sends what it had counted, and how its upload ended."""
    with live(gunicorn, statsd) as server:
        with HalfUpload(server):
            (holder,) = wait_until(
                lambda: [pid for pid in server.workers() if server.spooled_descriptors(pid)],
                "a spool on disk",
            )
            os.kill(holder, signal.SIGKILL)
            wait_until(lambda: statsd.counters().get("ended.killed") == 1, "it is told")
        server.signal(signal.SIGTERM)
        server.wait()
    statsd.close()
    endings = {name: number for name, number in statsd.counters().items() if "ended" in name}
    assert endings == {"ended.killed": 1}
    assert statsd.counters()["bytes"] > 500_000  # past that a part is on disk


def test_prefix_and_tags(gunicorn: Gunicorn) -> None:
    """They are gunicorn's, and on all that is sent."""
    options = ("--statsd-prefix", "site", "--dogstatsd-tags", "env:test,role:web")
    with StatsdServer(prefix="site.") as statsd:
        with live(gunicorn, statsd, *options) as server:
            upload_in_known_ways(server)
            server.signal(signal.SIGTERM)
            server.wait()
        statsd.close()
        check_known(statsd)
        assert all(line.endswith("|#env:test,role:web") for line in statsd.lines())


@pytest.mark.parametrize("statsd", ["UDP"], indirect=True)
def test_logger_of_the_operator_s_own(gunicorn: Gunicorn, statsd: StatsdServer) -> None:
    """Which can't send: uploads go on as they do, and nothing is sent."""
    options = ("--logger-class", "operators_logger.Logger")
    server = live(gunicorn, statsd, *options)
    code = "from gunicorn.glogging import Logger as Stock\n\n\nclass Logger(Stock):\n    pass\n"
    (server.directory / "operators_logger.py").write_text(code)
    with server:
        upload_in_known_ways(server)
        server.signal(signal.SIGTERM)
        server.wait()
        assert "Traceback" not in server.log()
    statsd.close()
    assert statsd.lines() == []


# Statsd servers that are away


def check_uploads_go_on(server: LiveServer) -> None:
    for _ in range(20):
        upload(server)
    assert not server.own_tracebacks()


def test_statsd_that_has_gone(gunicorn: Gunicorn, statsd: StatsdServer) -> None:
    """Before the server starts, or in the middle of it: the sockets don't mind."""
    with live(gunicorn, statsd) as server:
        upload(server)
        statsd.close()
        check_uploads_go_on(server)


def test_statsd_that_was_never_there(gunicorn: Gunicorn, statsd: StatsdServer) -> None:
    statsd.close()
    with live(gunicorn, statsd) as server:
        check_uploads_go_on(server)


def wait_for_full_queue(server: LiveServer) -> None:
    """Until gunicorn says that it could not send."""

    def is_full() -> bool:
        upload(server)
        return "Error sending message to statsd" in server.log()

    wait_until(is_full, "a full queue")


def test_statsd_that_does_not_read(gunicorn: Gunicorn, tmp_path: Path) -> None:
    """Uploads go on, and the worker ends."""
    with StatsdServer(tmp_path, reading=False) as statsd:
        more = ("--workers", "1")
        with live(gunicorn, statsd, *more) as server:
            wait_for_full_queue(server)
            check_uploads_go_on(server)
            server.signal(signal.SIGTERM)
            server.wait()
