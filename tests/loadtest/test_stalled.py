"""The load test's stalled clients: pairs and ratios, how they hold and go, real servers."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loadtest_runs import load_test, wait_until
from measurements import measurement

from loadtest import assertions
from loadtest.clients.connection import Address
from loadtest.clients.uploads import STOPPED, Upload, UploadJob
from loadtest.errors import LoadTestError, UsageError
from loadtest.measuring import holding, plan
from loadtest.measuring.kept import StalledRow, make_stalled_rows
from loadtest.measuring.session import Results
from loadtest.measuring.statistics import Cost, Measurement
from loadtest.reports import as_text
from loadtest.scenarios import stalled
from loadtest.scenarios.known import make_settings
from loadtest.scenarios.stalled import StalledMeasurement, StalledSettings
from loadtest.servers.processes import ServerProcess, free_port


def chosen(**said: Any) -> StalledSettings:
    made = make_settings({"stalled": 500, **said})
    assert isinstance(made, StalledSettings)
    return made


# What is measured


def test_every_other_pair_is_measured_the_other_way_round() -> None:
    steps = stalled.make_pairs(chosen(repeat=3), "a")
    assert [step.clients for step in steps] == [0, 500, 500, 0, 0, 500]
    assert {step.server for step in steps} == {"a"}


def test_the_scenario_has_defaults_of_its_own() -> None:
    assert (chosen().size, chosen().total, chosen().repeat) == (100_000_000, 500_000_000, 7)
    assert chosen(repeat=2).repeat == 2


def test_the_fast_upload_is_one_and_the_stalled_are_many() -> None:
    address = Address("h", 1, "127.0.0.1")
    fast = stalled.fast_job(chosen(), address)
    assert (fast.clients, fast.requests, fast.size) == (1, 1, 500_000_000)
    slow = stalled.stalled_job(chosen(), address)
    assert (slow.clients, slow.requests, slow.size) == (500, 1, 100_000_000)
    assert slow.speeds == ("hold:200000",)


def test_too_few_descriptors_are_noticed_before() -> None:
    plan.check_descriptors(500, 1024)
    with pytest.raises(UsageError, match="500 clients at once need 600 file descriptors and the"):
        plan.check_descriptors(500, 599)


# The figures


def pair(alone: float, beside: float, server: str = "a") -> list[Measurement]:
    """Without and with stalled clients, at so many MB/s."""
    return [
        replace(measurement(server, seconds=1000 / speed), clients=clients, noun=stalled.NOUN)
        for clients, speed in ((0, alone), (500, beside))
    ]


def test_what_is_kept_is_the_median_of_the_pairs() -> None:
    without, beside = make_stalled_rows([*pair(1000, 900), *pair(500, 490), *pair(800, 960)])
    assert (without.kept, without.lowest, without.highest, without.cpu) == (None,) * 4
    assert beside.kept == pytest.approx(0.98)
    assert beside.lowest == pytest.approx(0.9)
    assert beside.highest == pytest.approx(1.2)
    assert (beside.clients, beside.runs) == (500, 3)


def test_the_servers_cpu_time_is_compared_within_the_pairs() -> None:
    runs = []
    for alone, beside in ((2.0, 2.2), (1.0, 1.3), (4.0, 4.0)):
        for run, seconds in zip(pair(1000, 900), (alone, beside), strict=True):
            runs.append(replace(run, cost=Cost(seconds, 50 << 20, 60 << 20)))
    assert make_stalled_rows(runs)[1].cpu == pytest.approx(1.1)
    remote = [replace(run, cost=None) for run in runs]
    assert make_stalled_rows(remote)[1].cpu is None


def test_pairs_belong_together_in_whatever_order_they_were_measured() -> None:
    runs = [*pair(1000, 500), *reversed(pair(100, 90)), *pair(10, 10)]
    assert make_stalled_rows(runs)[1].kept == pytest.approx(0.9)


def test_a_pair_with_a_failed_upload_does_not_count() -> None:
    broken = pair(1000, 900)
    failed = replace(broken[1].uploads[0], outcome="cut (gone)")
    broken[1] = replace(broken[1], uploads=(failed,))
    assert make_stalled_rows(broken)[1].kept is None
    assert make_stalled_rows([*broken, *pair(100, 90)])[1].kept == pytest.approx(0.9)


def rows() -> list[StalledRow]:
    return make_stalled_rows([*pair(300, 150, "old"), *pair(1000, 970, "new")])


@pytest.mark.parametrize(
    "demand", ["kept>=0.95", "old.kept<0.6", "cpu=1", "max<25ms", "p99@0<25ms,errors=0"]
)
def test_demands_that_hold(demand: str) -> None:
    assert assertions.check(assertions.parse_assertions(demand), rows()) == []


def test_a_demand_that_does_not_hold_is_named_with_the_figure() -> None:
    assert assertions.check(assertions.parse_assertions("old.kept>=0.95"), rows()) == [
        "old.kept>=0.95 does not hold: 0.5 on old with 500 stalled clients."
    ]


@pytest.mark.parametrize("demand", ["kept@0>0.9", "status_max<1s", "cut=0", "lost=0"])
def test_a_demand_about_nothing_that_was_measured_is_refused(demand: str) -> None:
    with pytest.raises(UsageError):
        assertions.check(assertions.parse_assertions(demand), rows())


def test_the_verdict_says_what_is_kept() -> None:
    runs = (*pair(300, 150, "old"), *pair(1000, 970, "new"))
    found = stalled.findings(Results(chosen(), 500_000_000, runs))
    assert found.verdict == (
        "Beside 500 stalled clients an upload keeps of its speed: 50% on old, 97% on new; worst "
        "small request 1.0 ms on old, 1.0 ms on new."
    )
    assert len(as_text.render(found).split("\n\n")) == 5
    for grid in found.tables:
        assert {len(line) for line in grid.lines} == {len(grid.headings)}


def test_clients_that_went_and_descriptors_that_stayed_are_faults() -> None:
    stayed = Upload(0, 0.5, 2.5, 200_000, 10**8, 10**8, STOPPED)
    went = replace(stayed, sent=65_536, outcome="cut (Connection reset by peer)")
    without, beside = pair(1000, 900)
    beside = StalledMeasurement(**vars(beside), stalled=(stayed, went, stayed), left_open=2)
    assert as_text.faults(beside) == [
        "1 of 3 stalled clients: cut (Connection reset by peer), after 65,536 of 100,000,000 "
        "bytes.",
        "2 descriptors of stalled clients were still open after these had gone.",
    ]
    found = stalled.findings(Results(chosen(), 10**9, (without, beside)))
    assert len(found.faults) == 2


# Holding and going

SERVER = """
import socket, sys, threading, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
kept = []
def read(sock):
    with sock:
        while sock.recv(1 << 20):
            pass
while True:
    sock = listener.accept()[0]
    {act}
"""
READ = "threading.Thread(target=read, args=(sock,), daemon=True).start()"
KEEP = "kept.append(sock)"  # and never see that the client has gone
CLOSE = "sock.close()"
SLEEP = "time.sleep(60)"  # and accept nobody else


@contextmanager
def server(act: str, directory: Path) -> Iterator[tuple[Address, ServerProcess]]:
    """A process that does `act` with each `sock` that it accepts."""
    port = free_port()
    command = [sys.executable, "-c", SERVER.format(act=act), str(port)]
    with ServerProcess("mine", command, log=directory / "log", directory=directory,
                       environment={}) as process:  # fmt: skip
        wait_until(lambda: accepts(port), 20.0)
        yield Address("127.0.0.1", port, "127.0.0.1"), process


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def stalling(address: Address, clients: int = 3) -> UploadJob:
    return stalled.stalled_job(chosen(stalled=clients, size=1_000_000, held=50_000), address)


def test_clients_stall_until_they_are_told_to_go(tmp_path: Path) -> None:
    with server(READ, tmp_path) as (address, process):
        with holding.clients(stalling(address), 50_000, [process]) as group:
            assert group.uploads == ()
        found = StalledMeasurement(
            **vars(measurement()), stalled=group.uploads, left_open=group.left_open
        )
    assert [(each.outcome, each.sent) for each in found.stalled] == [(STOPPED, 50_000)] * 3
    assert found.left_open == 0
    assert as_text.faults(found) == []


def test_of_a_server_that_is_not_ours_nothing_else_is_known(tmp_path: Path) -> None:
    with server(KEEP, tmp_path) as (address, _):
        with holding.clients(stalling(address), 50_000, []) as group:
            pass
        assert [each.outcome for each in group.uploads] == [STOPPED] * 3
        assert group.left_open == 0


def test_what_a_server_does_not_close_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "RELEASE", 0.3)
    with server(KEEP, tmp_path) as (address, process):
        with holding.clients(stalling(address), 50_000, [process]) as group:
            pass
        assert group.left_open == 3


def test_a_server_that_does_not_accept_the_clients_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "BOUND", 1.0)
    with server(SLEEP, tmp_path) as (address, process):
        group = holding.clients(stalling(address), 50_000, [process])
        with pytest.raises(LoadTestError, match="not accepted the 3 clients that stall"), group:
            pytest.fail("they stall")


def test_a_server_that_ends_the_connections_is_a_fault(tmp_path: Path) -> None:
    with server(CLOSE, tmp_path) as (address, process):
        group = holding.clients(stalling(address), 50_000, [process])
        with pytest.raises(LoadTestError, match=r"3 clients that are to stall can't: cut"), group:
            pytest.fail("they stall")


# Real servers


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


SMALL = ("--total", "20MB", "--size", "1MB", "--held", "100kB", "--no-warm-up", "--no-html")


def test_both_workers_are_measured_in_pairs_and_everything_is_written(
    tmp_path: Path, scratch: Path
) -> None:
    files = {kind: tmp_path / f"report.{kind}" for kind in ("json", "html", "png")}
    outputs = [part for kind, file in files.items() for part in (f"--{kind}", str(file))]
    small = [option for option in SMALL if option != "--no-html"]
    outcome = load_test("--stalled", "5", "--repeat", "2", *small, *outputs, "--assert",
                        "kept>0.01,errors=0", scratch=scratch)  # fmt: skip
    assert outcome.status == 0, outcome.out + outcome.err
    steps = re.findall(r"^\d/8 (\w+), (\w+) stalled clients$", outcome.err, re.MULTILINE)
    assert steps == [
        (worker, clients)
        for worker in ("gevent", "cooperative")
        for clients in ("no", "5", "5", "no")
    ]
    assert re.search(r"^Beside 5 stalled clients an upload keeps of its speed: \d+% on gevent, "
                     r"\d+% on cooperative; worst", outcome.out, re.MULTILINE)  # fmt: skip

    found: dict[str, Any] = json.loads(files["json"].read_text())
    assert [(row["server"], row["clients"], row["kept"] is None) for row in found["rows"]] == [
        (worker, clients, not clients)
        for worker in ("gevent", "cooperative")
        for clients in (0, 5)
    ]
    for run in found["measurements"]:
        assert [upload["outcome"] for upload in run["uploads"]] == ["ok"]
        outcomes = [upload["outcome"] for upload in run["stalled"]]
        assert outcomes == [STOPPED] * run["clients"]
        assert run["left_open"] == 0
    assert files["html"].read_text().startswith("<!doctype html>")
    assert files["png"].read_bytes().startswith(b"\x89PNG")


def test_clients_stall_however_they_send(scratch: Path) -> None:
    outcome = load_test("--stalled", "2", "--servers", "cooperative", "--repeat", "1", *SMALL,
                        "--tls", "--body", "raw", scratch=scratch)  # fmt: skip
    assert outcome.status == 0, outcome.out + outcome.err


def test_a_speed_that_is_not_kept_is_status_1(scratch: Path) -> None:
    outcome = load_test("--stalled", "1", "--servers", "cooperative", "--repeat", "1", *SMALL,
                        "--assert", "kept>50", scratch=scratch)  # fmt: skip
    assert outcome.status == 1, outcome.out + outcome.err
    assert "kept>50 does not hold" in outcome.err
