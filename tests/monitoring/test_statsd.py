"""What is sent to statsd, through gunicorn's own logger and with loggers that can't send."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from checkout import MONITORING_PAGE
from greenlets import in_greenlet
from greenlets import wait_until as let_run_until
from gunicorn.config import Config
from gunicorn.instrument.statsd import Statsd
from live_server import wait_until
from statsd_server import StatsdServer

from cooperative_upload.monitoring import board, monitor, statsd
from cooperative_upload.monitoring.monitor import Upload

PAGE = MONITORING_PAGE.read_text()


@pytest.fixture(autouse=True)
def sheet(monkeypatch: pytest.MonkeyPatch) -> board.Sheet:
    """That of this process, on a board of its own."""
    monkeypatch.setattr(monitor, "_board", board.Board(3))
    monkeypatch.setattr(monitor, "_process", None)
    return monitor.current_sheet()


@pytest.fixture
def server() -> Iterator[StatsdServer]:
    with StatsdServer() as server:
        yield server


@pytest.fixture
def handlers() -> Iterator[None]:
    """gunicorn's loggers are as they were after the test."""
    loggers = [logging.getLogger(name) for name in ("gunicorn.error", "gunicorn.access")]
    before = [(each, list(each.handlers), each.propagate, each.level) for each in loggers]
    yield
    for each, kept, propagate, level in before:
        each.handlers, each.propagate = kept, propagate
        each.setLevel(level)


@pytest.fixture
def logger_for(handlers: None) -> Iterator[Callable[..., Any]]:
    """Makes gunicorn's logger, as --statsd-host does."""
    made = []

    def make(address: str, **options: str) -> Any:
        config = Config()
        for name, value in {"statsd_host": address, **options}.items():
            config.set(name, value)
        made.append(Statsd(config))
        return made[-1]

    yield make
    for each in made:
        if each.sock is not None:
            each.sock.close()


def ended_upload(ending: str = "complete", received: int = 0) -> Upload:
    upload = Upload("PUT", "/", "127.0.0.1", None)
    upload.record.received = received
    upload.ended(ending, 200)
    return upload


def endings_told(server: StatsdServer) -> dict[str, float]:
    """Without what the loop of the tests counts, which other tests may have a probe look at."""
    counters = server.counters().items()
    return {name: number for name, number in counters if name.startswith("ended.")}


def has_told(server: StatsdServer, expected: dict[str, float]) -> bool:
    return endings_told(server) == expected


def received_by(server: StatsdServer) -> StatsdServer:
    """All that was sent so far: it is in the socket when it has been sent."""
    server.close()
    return server


# Names


def test_the_documented_metrics_are_sent(
    sheet: board.Sheet, server: StatsdServer, logger_for: Callable[..., Any]
) -> None:
    """By name and type, and no other; of the endings one stands for all."""
    section = PAGE.partition("\n## statsd\n")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `gunicorn\.upload\.([\w.]+)` \| (\w+)", section, re.M))
    log = logger_for(server.address)
    for name in board.NUMBERS:
        sheet.add(name)
    sheet.alive = time.monotonic()
    statsd.send_numbers(log)
    statsd.send_ended(log, ended_upload())
    kinds = {"c": "counter", "g": "gauge", "ms": "timer"}
    sent = {
        (line.removeprefix("gunicorn.upload.").partition(":")[0], kinds[line.split("|")[1]])
        for line in received_by(server).lines()
    }
    endings = {(f"ended.{ending}", "counter") for ending in board.ENDINGS}
    assert endings <= sent
    assert sent - endings == documented - {("ended.complete", "counter")}


# Counters


def test_each_number_is_sent_once(
    sheet: board.Sheet, server: StatsdServer, logger_for: Callable[..., Any]
) -> None:
    """By how much it has grown, and nothing if it has not."""
    log = logger_for(server.address)
    sheet.add("complete", 3)
    sheet.add("bytes", 1000)
    assert statsd.send_numbers(log)
    sheet.add("complete", 2)
    assert statsd.send_numbers(log)
    assert statsd.send_numbers(log)
    counted = [line for line in received_by(server).lines() if "|c" in line]
    assert counted == [
        "gunicorn.upload.ended.complete:3|c|@1.0",
        "gunicorn.upload.bytes:1000|c|@1.0",
        "gunicorn.upload.ended.complete:2|c|@1.0",
    ]


def test_numbers_of_all_workers_are_sent(
    sheet: board.Sheet,
    server: StatsdServer,
    logger_for: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one sum; also those of a process that has gone."""
    gone = board.Sheet()
    gone.began = 1.0
    gone.add("killed", 2)
    monkeypatch.setattr(monitor.current_board(), "sheets", lambda: [gone, sheet])
    sheet.add("killed", 1)
    log = logger_for(server.address)
    statsd.send_numbers(log)
    gone.add("killed", 4)
    statsd.send_numbers(log)
    assert received_by(server).counters() == {"ended.killed": 7}
    assert len([line for line in server.lines() if "|c" in line]) == 2


def test_one_process_tells_at_a_time() -> None:
    """A process that ends in the middle lets another one."""
    program = """if True:
        import os
        from cooperative_upload.monitoring import monitor
        monitor.share_statistics()
        telling, ending = os.pipe(), os.pipe()
        child = os.fork()
        if not child:
            with monitor.current_board().telling() as alone:
                os.write(telling[1], b"alone" if alone else b"no")
                os.read(ending[0], 1)
                os._exit(0)
        assert os.read(telling[0], 5) == b"alone"
        board = monitor.current_board()
        with board.telling() as alone:
            assert not alone
        os.write(ending[1], b"x")
        os.waitpid(child, 0)
        for _ in range(2):
            with board.telling() as alone:
                assert alone
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


@pytest.fixture
def others_tell(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether another process tells, by each time that this one would; after that none does."""
    times: list[bool] = []

    @contextlib.contextmanager
    def telling() -> Iterator[bool]:
        yield not (times and times.pop(0))

    monkeypatch.setattr(monitor.current_board(), "telling", telling)
    return times


def test_what_another_process_sends_is_not_sent(
    server: StatsdServer, logger_for: Callable[..., Any], others_tell: list[bool]
) -> None:
    """Nor is what it passed over forgotten."""
    log = logger_for(server.address)
    monitor.count("complete", 5)
    others_tell.append(True)
    assert not statsd.send_numbers(log)
    assert statsd.send_numbers(log)
    assert received_by(server).counters() == {"ended.complete": 5}


def test_the_last_worker_sends_the_rest(
    server: StatsdServer, logger_for: Callable[..., Any], others_tell: list[bool]
) -> None:
    """Also where another one is just sending, and may have looked before it counted."""

    def work() -> None:
        with statsd.telling_statsd(log):
            monitor.count("complete", 5)
            others_tell.extend([True, True, True])

    log = logger_for(server.address)
    in_greenlet(work)
    assert endings_told(received_by(server)) == {"ended.complete": 5}
    assert not others_tell


def test_numbers_are_sent_each_second(
    server: StatsdServer, logger_for: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statsd, "_SECONDS_BETWEEN", 0.001)
    log = logger_for(server.address)

    def work() -> None:
        with statsd.telling_statsd(log):
            for n in range(1, 4):
                monitor.count("complete", n)
                expected: dict[str, float] = {"ended.complete": n * (n + 1) // 2}
                let_run_until(functools.partial(has_told, server, expected))

    in_greenlet(work)
    assert endings_told(received_by(server)) == {"ended.complete": 6}


# Gauges and timers


def test_gauges_are_of_all_workers(
    sheet: board.Sheet,
    server: StatsdServer,
    logger_for: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sums, and the worst; those that have gone are not in them."""
    other, gone = board.Sheet(), board.Sheet()
    now = time.monotonic()
    for each, pid, uploads, lingering, lag, alive in (
        (sheet, 1, 2, 1, 0.001, now),
        (other, 2, 3, 4, 0.25, now - 4),
        (gone, 0, 100, 100, 60.0, now - 100),
    ):
        each.pid = pid
        each.add("uploads", uploads)
        each.add("lingering", lingering)
        each.alive = alive
        for second in range(board.LAG_SECONDS):
            each.lag_of_seconds[second] = 9.0  # long ago
        each.seconds = 1000
        for second in range(990, 1000):
            each.lag_of_seconds[second % board.LAG_SECONDS] = 0.0001
        each.lag_of_seconds[990 % board.LAG_SECONDS] = lag
    monkeypatch.setattr(monitor.current_board(), "sheets", lambda: [sheet, other, gone])
    statsd.send_numbers(logger_for(server.address))
    gauges = received_by(server).gauges()
    silent = gauges.pop("loop_silent_max")
    assert gauges == {"in_progress": 5, "lingering": 5, "loop_lag_max": 250}
    assert 4000 <= silent < 60_000


def test_nothing_is_said_of_loops_that_nobody_watches(
    server: StatsdServer, logger_for: Callable[..., Any]
) -> None:
    statsd.send_numbers(logger_for(server.address))
    assert received_by(server).gauges() == {"in_progress": 0, "lingering": 0}


def test_a_loop_that_has_just_begun_has_no_lag(
    sheet: board.Sheet, server: StatsdServer, logger_for: Callable[..., Any]
) -> None:
    sheet.alive = time.monotonic()
    statsd.send_numbers(logger_for(server.address))
    assert received_by(server).gauges()["loop_lag_max"] == 0


def test_timers_of_an_upload(server: StatsdServer, logger_for: Callable[..., Any]) -> None:
    """In ms."""
    upload = Upload("PUT", "/", "127.0.0.1", None)
    record = upload.record
    record.arrived = record.began + 1.5
    record.waited_for_turns = 0.25
    record.waited_for_client = 0.125
    record.waited_for_disk = 0.0001
    upload.ended("complete", 200)
    statsd.send_ended(logger_for(server.address), upload)
    assert received_by(server).lines() == [
        "gunicorn.upload.arrival:1500.0|ms",
        "gunicorn.upload.turn_wait:250.0|ms",
        "gunicorn.upload.client_wait:125.0|ms",
        "gunicorn.upload.disk_wait:0.1|ms",
    ]


def test_prefix_and_tags_are_gunicorn_s(logger_for: Callable[..., Any]) -> None:
    server = StatsdServer(prefix="site.")
    log = logger_for(server.address, statsd_prefix="site", dogstatsd_tags="env:test,role:web")
    monitor.count("complete")
    statsd.send_numbers(log)
    assert received_by(server).lines() == [
        "site.gunicorn.upload.ended.complete:1|c|@1.0|#env:test,role:web",
        "site.gunicorn.upload.in_progress:0|g|#env:test,role:web",
        "site.gunicorn.upload.lingering:0|g|#env:test,role:web",
    ]


# Loggers that can't send


class OwnLogger:
    """With the methods, and without a socket."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, float]] = []

    def increment(self, name: str, value: float) -> None:
        self.sent.append((name, value))

    gauge = timer = increment


def without(name: str) -> Any:
    log = OwnLogger()
    setattr(log, name, None)
    return log


def unconnected() -> Any:
    log: Any = OwnLogger()
    log.sock = None  # gunicorn's, where there is no such Unix socket
    return log


SILENT: dict[str, Callable[[], Any]] = {
    "standard library": lambda: logging.getLogger("cooperative_upload"),
    "no gauge": lambda: without("gauge"),
    "no increment": lambda: without("increment"),
    "no timer": lambda: without("timer"),
    "no socket": unconnected,
}


@pytest.mark.parametrize("kind", SILENT)
def test_logger_that_sends_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs nothing: no greenlet, no look at the board."""
    log = SILENT[kind]()
    upload = ended_upload()
    for name in ("spawn", "sleep"):
        monkeypatch.setattr(gevent, name, None)
    monkeypatch.setattr(statsd, "current_board", None)
    with statsd.telling_statsd(log):
        statsd.send_ended(log, upload)
    assert getattr(log, "sent", []) == []


def test_logger_of_the_operator_s_own() -> None:
    """Who has the methods gets the numbers, whatever it sends them by."""
    log = OwnLogger()
    with statsd.telling_statsd(log):
        upload = ended_upload(received=10)
        statsd.send_ended(log, upload)
    assert dict(log.sent)["gunicorn.upload.ended.complete"] == 1
    assert dict(log.sent)["gunicorn.upload.bytes"] == 10
    assert dict(log.sent).keys() >= {"gunicorn.upload.arrival", "gunicorn.upload.in_progress"}


# Servers that are away


@pytest.fixture
def complaints(handlers: None) -> list[str]:
    """What gunicorn's logger writes: of it, a traceback for each datagram that failed."""
    found: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logging.getLogger("gunicorn.error").addHandler(Keeping())
    return found


def send_much(log: Any) -> None:
    for _ in range(20):
        statsd.send_ended(log, ended_upload())
        statsd.send_numbers(log)


def test_nobody_listens(logger_for: Callable[..., Any], complaints: list[str]) -> None:
    """The refusals that come back are not taken for errors."""
    with StatsdServer() as server:
        address = server.address
    log = logger_for(address)
    log.increment("other", 1)
    log.increment("other", 1)
    assert len(complaints) == 1, "the kernel tells of refusals"
    complaints.clear()
    send_much(log)
    assert complaints == []


def test_somebody_listens_again(logger_for: Callable[..., Any], complaints: list[str]) -> None:
    """The first number is not lost by a refusal of before."""
    with StatsdServer() as server:
        port = int(server.address.rpartition(":")[2])
    log = logger_for(server.address)
    send_much(log)
    with StatsdServer(port=port) as again:
        monitor.count("complete", 5)
        statsd.send_numbers(log)
        assert received_by(again).counters() == {"ended.complete": 5}
    assert complaints == []


def fill(log: Any) -> None:
    """Until the server's queue takes no more, which is the kernel's to say when."""
    for _ in range(100_000):
        if not statsd._is_ready(log):
            return
        statsd.send_ended(log, ended_upload())
    pytest.fail("the queue is never full")


def test_unix_server_that_does_not_read(
    tmp_path: Path, logger_for: Callable[..., Any], complaints: list[str]
) -> None:
    """Blocks nobody, and what could not be counted is when it reads again."""
    with StatsdServer(tmp_path, reading=False) as server:
        log = logger_for(server.address)
        fill(log)
        monitor.count("drained", 3)
        assert not statsd.send_numbers(log)
        statsd.send_ended(log, ended_upload())
        server.read()
        wait_until(lambda: statsd.send_numbers(log), "all to be sent")
        assert received_by(server).counters()["ended.drained"] == 3
    assert complaints == []


def test_gunicorn_s_own_datagrams_do_not_wait_for_ever(
    tmp_path: Path, logger_for: Callable[..., Any], complaints: list[str]
) -> None:
    """They hold the loop, for a moment that is short."""
    with StatsdServer(tmp_path, reading=False) as server:
        log = logger_for(server.address)
        with statsd.telling_statsd(log):
            fill(log)
            log.increment("gunicorn.requests", 1)
            assert complaints == ["Error sending message to statsd"]
            server.read()


def test_the_rest_is_more_than_a_queue_takes(
    sheet: board.Sheet, tmp_path: Path, logger_for: Callable[..., Any]
) -> None:
    """The worker waits for the server to read it."""
    with StatsdServer(tmp_path, reading=False) as server:
        log = logger_for(server.address)

        def work() -> None:
            with statsd.telling_statsd(log):
                fill(log)
                for name in board.ENDINGS:
                    sheet.add(name)
                gevent.spawn(server.read)

        in_greenlet(work)
        counters = received_by(server).counters()
    assert counters.keys() >= {f"ended.{name}" for name in board.ENDINGS}


def test_unix_server_that_has_gone(
    tmp_path: Path, logger_for: Callable[..., Any], complaints: list[str]
) -> None:
    """One line of gunicorn's, since the kernel tells only who tries."""
    with StatsdServer(tmp_path) as server:
        log = logger_for(server.address)
    send_much(log)
    assert complaints == ["Error sending message to statsd"]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # which gunicorn leaves
def test_unix_server_that_never_was(tmp_path: Path, logger_for: Callable[..., Any]) -> None:
    """gunicorn has no socket then."""
    log = logger_for(f"unix://{tmp_path}/statsd")
    send_much(log)
    with statsd.telling_statsd(log):
        pass
