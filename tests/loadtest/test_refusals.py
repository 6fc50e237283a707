"""The load test's refused clients: what each kind does, what becomes of them, real servers."""

from __future__ import annotations

import importlib.util
import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from loadtest_runs import BARE, load_test, wait_until
from measurements import measurement

from loadtest import assertions, refused, report_html, report_refusals, settings
from loadtest.connection import Address
from loadtest.crew import Station
from loadtest.errors import UsageError
from loadtest.refusals import ALL, LOOKING, RefusalRow, fates_by_kind, make_refusal_rows
from loadtest.refused import CUT, EXPECT, REFUSED, SEND_ALL, UNANSWERED, WATCH, WRONG, Refusal
from loadtest.resources import Watch
from loadtest.session import Results
from loadtest.statistics import Measurement

SIZE = 32_000_000  # bytes of content: far more than the kernel takes for a server that reads none
REFUSAL = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\nConnection: close\r\n\r\nno..."
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


# What each kind does, with a server that does what a test says


class Heard:
    """The parent's side of the process, here in the same one."""

    def wait_for_go(self) -> float:
        return time.perf_counter()

    def progress(self, value: object) -> None:
        """Nobody looks."""

    def stop_at(self) -> None:
        """Never."""


class Script:
    """What a server did: `act` gets its side of the one connection, at the end of the headers."""

    def __init__(self, act: Callable[[socket.socket, bytes], object]) -> None:
        self._act = act
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.head = b""
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            with self._listener.accept()[0] as sock:
                sock.settimeout(20)
                while b"\r\n\r\n" not in self.head:
                    self.head += sock.recv(65536)
                self.head, _, begun = self.head.partition(b"\r\n\r\n")
                self._act(sock, begun)
        except BaseException as error:
            self.error = error

    def __enter__(self) -> Script:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.join(20)
        self._listener.close()
        assert self.error is None, self.error


def refusal(act: Callable[[socket.socket, bytes], object], kind: str, **job: Any) -> Refusal:
    """What one client of `kind` saw of a server that does `act`."""
    with Script(act) as server:
        address = Address("127.0.0.1", server.port, "127.0.0.1")
        found = refused.run(make_job(address, kinds=(kind,), **job), stationed())
        assert (b"Expect: 100-continue" in server.head) == (kind == EXPECT)
    assert len(found.uploads) == 1
    (one,) = found.uploads
    assert isinstance(one, Refusal)
    assert one.kind == kind
    return one


def stationed() -> Station:
    return Heard()  # type: ignore[return-value]


def make_job(address: Address, **changed: Any) -> refused.RefusedJob:
    job = refused.RefusedJob(
        address=address,
        target="/refuse",
        headers=(),
        field="file",
        body="raw",
        clients=1,
        kinds=refused.KINDS,
        size=SIZE,
        send_all_size=SIZE,
        status=401,
        seed=1,
        seconds=20.0,
    )
    return replace(job, **changed)


def swallow(sock: socket.socket, *, until: int | None = None) -> int:
    """Read to the end, or that much."""
    count = 0
    with suppress(ConnectionResetError):
        while (until is None or count < until) and (data := sock.recv(1 << 20)):
            count += len(data)
    return count


def answer_and_linger(sock: socket.socket, begun: bytes) -> None:
    sock.sendall(REFUSAL)
    swallow(sock)


@pytest.mark.parametrize("kind", [EXPECT, WATCH])
def test_a_client_that_looks_stops_when_it_sees_the_status(kind: str) -> None:
    seen = refusal(answer_and_linger, kind)
    assert (seen.fate, seen.status, seen.outcome) == (REFUSED, 401, "ok")
    assert seen.sent == seen.sent_before
    assert seen.sent < seen.length
    assert 0 < seen.waited < 5


def test_a_client_that_expects_sends_nothing_before_it_was_answered() -> None:
    seen = refusal(answer_and_linger, EXPECT)
    assert seen.sent == seen.sent_before == 0


def test_a_client_that_expects_sends_when_it_may_and_looks_all_the_same() -> None:
    def act(sock: socket.socket, begun: bytes) -> None:
        assert begun == b""
        sock.sendall(CONTINUE)
        swallow(sock, until=1_000_000)
        answer_and_linger(sock, b"")

    seen = refusal(act, EXPECT)
    assert seen.fate == REFUSED
    assert 1_000_000 <= seen.sent < seen.length


def test_a_client_that_expects_loses_its_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused, "PATIENCE", 0.1)

    def act(sock: socket.socket, begun: bytes) -> None:
        assert begun == b""
        assert swallow(sock, until=100_000) >= 100_000
        answer_and_linger(sock, b"")

    seen = refusal(act, EXPECT)
    assert seen.fate == REFUSED
    assert seen.waited > 0.1


def test_a_client_that_watches_sends_at_once() -> None:
    def act(sock: socket.socket, begun: bytes) -> None:
        assert len(begun) + swallow(sock, until=1_000_000) >= 1_000_000
        answer_and_linger(sock, b"")

    assert refusal(act, WATCH).sent >= 1_000_000


def test_a_client_that_sends_all_does_not_look_before() -> None:
    seen = refusal(answer_and_linger, SEND_ALL)
    assert (seen.fate, seen.outcome) == (REFUSED, "ok")
    assert seen.sent == seen.sent_before == seen.length


def test_the_size_of_send_all_is_at_most_that_of_the_others() -> None:
    job = make_job(Address("h", 1, "127.0.0.1"), size=100, send_all_size=50, body="raw")
    sizes = {}
    for kind in refused.KINDS:
        body = refused.make_request(job, kind).body
        assert body is not None
        sizes[kind] = body.length
    assert sizes == {EXPECT: 100, WATCH: 100, SEND_ALL: 50}
    body = refused.make_request(replace(job, size=10), SEND_ALL).body
    assert body is not None
    assert body.length == 10


@pytest.mark.parametrize("kind", refused.KINDS)
def test_a_reset_is_a_cut(kind: str) -> None:
    def act(sock: socket.socket, begun: bytes) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    seen = refusal(act, kind)
    assert (seen.fate, seen.status) == (CUT, 0)
    assert seen.outcome.startswith("cut (")
    assert seen.sent_before is None


def test_an_answer_behind_a_reset_counts_for_nobody_who_has_not_looked() -> None:
    def act(sock: socket.socket, begun: bytes) -> None:
        sock.sendall(REFUSAL)
        swallow(sock, until=100_000)  # what comes after it is unread, so that the end is a reset

    assert refusal(act, SEND_ALL).fate == CUT


def test_an_end_without_a_status_is_a_cut() -> None:
    def act(sock: socket.socket, begun: bytes) -> None:
        sock.shutdown(socket.SHUT_WR)
        swallow(sock)

    seen = refusal(act, WATCH)
    assert (seen.fate, seen.outcome) == (CUT, "cut (the connection ended before the answer)")


def test_a_cut_behind_the_status_is_told() -> None:
    def act(sock: socket.socket, begun: bytes) -> None:
        sock.sendall(REFUSAL[:-1])
        sock.shutdown(socket.SHUT_WR)
        swallow(sock)

    seen = refusal(act, WATCH)
    assert (seen.fate, seen.status) == (REFUSED, 401)
    assert seen.outcome.startswith("answered 401, then cut (")


def test_the_wait_ends_with_the_status_and_not_with_the_answer() -> None:
    def act(sock: socket.socket, begun: bytes) -> None:
        sock.sendall(REFUSAL[:-1])
        swallow(sock)

    seen = refusal(act, WATCH, seconds=1.0)
    assert (seen.fate, seen.outcome) == (REFUSED, "answered 401, then no answer after 1 s")
    assert seen.end - seen.start > 0.9
    assert seen.waited < 0.7


def test_another_status_is_wrong() -> None:
    def act(sock: socket.socket, begun: bytes) -> None:
        sock.sendall(REFUSAL.replace(b"401", b"200"))
        swallow(sock)

    seen = refusal(act, WATCH)
    assert (seen.fate, seen.status) == (WRONG, 200)
    assert seen.outcome == "answered 200 instead of 401"


@pytest.mark.parametrize("kind", refused.KINDS)
def test_who_has_no_answer_is_given_up(kind: str) -> None:
    seen = refusal(lambda sock, begun: swallow(sock), kind, seconds=0.3)
    assert (seen.fate, seen.outcome) == (UNANSWERED, "no answer after 0.3 s")
    assert 0.2 < seen.waited < 5


def test_the_kinds_take_turns() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address("127.0.0.1", listener.getsockname()[1], "127.0.0.1")
        job = make_job(address, clients=7, seconds=0.1)
        found = refused.run(job, stationed()).uploads
    kinds = {each.client: each.kind for each in found if isinstance(each, Refusal)}
    assert [kinds[i] for i in range(7)] == [*refused.KINDS, *refused.KINDS, EXPECT]


# The figures


def one(kind: str = WATCH, fate: str = REFUSED, waited: float = 0.05, sent: int = 10**6,
        sent_before: int | None = 500_000) -> Refusal:  # fmt: skip
    return Refusal(
        client=0,
        start=0.5,
        end=1.0,
        sent=sent,
        length=10**9,
        content=0,
        outcome="ok" if fate == REFUSED else f"{fate} (why)",
        status=401 if fate == REFUSED else 0,
        kind=kind,
        fate=fate,
        waited=waited,
        sent_before=sent_before if fate == REFUSED else None,
    )


MIXED = (
    one(EXPECT, waited=0.02, sent=0, sent_before=0),
    one(WATCH, waited=0.08),
    one(WATCH, CUT, waited=0.9),
    one(SEND_ALL, waited=3.0, sent=8_000_000, sent_before=8_000_000),
    one(SEND_ALL, UNANSWERED, waited=45.0, sent=3_000_000),
)


def run_of(server: str, *refusals: Refusal, lost: int = 0) -> Measurement:
    return replace(
        measurement(server),
        clients=len(refusals),
        uploads=refusals,
        noun="refusal",
        workers_lost=lost,
    )


def rows() -> list[RefusalRow]:
    idle = replace(run_of("new"), uploads=())
    return make_refusal_rows([run_of("old", one(fate=CUT), lost=1), idle, run_of("new", *MIXED)])


def test_fates_are_counted_kind_by_kind() -> None:
    fates = fates_by_kind(MIXED)
    assert set(fates) == {*refused.KINDS, LOOKING, ALL}
    counts = {
        kind: (each.clients, each.refused, each.wrong, each.cut, each.unanswered)
        for kind, each in fates.items()
    }
    assert counts[WATCH] == (2, 1, 0, 1, 0)
    assert counts[SEND_ALL] == (2, 1, 0, 0, 1)
    assert counts[LOOKING] == (3, 2, 0, 1, 0)
    assert counts[ALL] == (5, 3, 0, 1, 1)


def test_the_unanswered_count_with_their_wait_and_the_cut_do_not() -> None:
    fates = fates_by_kind(MIXED)
    assert fates[SEND_ALL].waited.max == pytest.approx(45.0, rel=0.01)
    assert fates[WATCH].waited.max == pytest.approx(0.08, rel=0.01)
    assert fates[WATCH].waited.count == 1


def test_what_was_sent_is_added_up() -> None:
    fates = fates_by_kind(MIXED)
    assert fates[ALL].sent == 13_000_000
    assert (fates[ALL].sent_median, fates[ALL].sent_max) == (1_000_000, 8_000_000)
    assert fates[LOOKING].sent_before == 250_000
    assert fates_by_kind([one(fate=CUT)])[ALL].sent_before is None


def test_only_the_loaded_rows_have_fates_and_only_our_servers_workers() -> None:
    old, idle, loaded = rows()
    assert (old.workers_lost, loaded.workers_lost) == (1, 0)
    assert idle.fates == {}
    remote = replace(run_of("far", one()), cost=None)
    assert make_refusal_rows([remote])[0].workers_lost is None


def test_runs_are_counted_together() -> None:
    (row,) = make_refusal_rows([run_of("a", one(), lost=1), run_of("a", one(fate=CUT), lost=1)])
    assert row.fates[ALL].clients == 2
    assert row.workers_lost == 2


@pytest.mark.parametrize(
    "demand",
    ["status_max<100ms", "status_p50@send-all>1s", "status_max@expect<25ms", "refused=3",
     "cut=1,cut@expect=0", "unanswered@send-all=1", "wrong=0", "lost=0", "old.lost=1", "max<25ms",
     "MB/client<9", "MB/client@watch<=1"],
)  # fmt: skip
def test_demands_that_hold(demand: str) -> None:
    assert assertions.check(assertions.parse_assertions(demand), rows()) == []


def test_a_demand_that_does_not_hold_is_named_with_the_figure() -> None:
    demands = assertions.parse_assertions("status_max<50ms,refused=5")
    assert assertions.check(demands, rows()) == [
        "status_max<50ms does not hold: 80 ms on new with 5 refusals.",
        "refused=5 does not hold: 3 on new with 5 refusals.",
    ]


@pytest.mark.parametrize("demand", ["old.status_max<1s", "kept>0.9", "p99@watch<1s",
                                    "old.refused@expect=1", "refused@0=1"])  # fmt: skip
def test_a_demand_about_nothing_that_was_measured_is_refused(demand: str) -> None:
    with pytest.raises(UsageError):
        assertions.check(assertions.parse_assertions(demand), rows())


def test_no_latency_is_good_enough_where_none_was_measured() -> None:
    quick = make_refusal_rows([replace(run_of("a", one()), probes=())])
    with pytest.raises(UsageError):
        assertions.check(assertions.parse_assertions("max<25ms"), quick)


def test_the_scenario_has_defaults_of_its_own() -> None:
    chosen = settings.make_settings({"refusals": 100})
    assert (chosen.size, chosen.deadline, chosen.repeat) == (2 << 30, 45.0, 1)
    assert settings.make_settings({"refusals": 5, "size": 7}).size == 7
    assert settings.make_settings({}) == settings.Settings()


def findings_of(*runs: Measurement) -> Any:
    chosen = settings.make_settings({"refusals": 5})
    return report_refusals.findings(Results(chosen, 0, runs))


def test_the_verdict_names_the_longest_wait_and_who_got_nothing() -> None:
    found = findings_of(run_of("old", one(fate=CUT), lost=1), run_of("new", *MIXED))
    assert found.verdict == (
        "Longest wait for a refusal all cut on old, 80 ms on new; clients without one: 1 on old, "
        "2 on new; worst small request 1.0 ms on old, 1.0 ms on new."
    )
    assert "old with 1 refusal: the server lost 1 worker." in found.notes
    assert "new with 5 refusals: 1 of 5 uploads: cut (why), after 1,000,000 of 1,000,000,000 " \
        "bytes." in found.notes  # fmt: skip
    assert not found.faults


def test_each_kind_has_a_line_and_one_kind_alone_no_second() -> None:
    clients, probes = findings_of(run_of("old", one()), run_of("new", *MIXED)).tables
    assert [line[:2] for line in clients.lines] == [
        ["old", WATCH], ["new", EXPECT], ["new", WATCH], ["new", SEND_ALL], ["new", ALL],
    ]  # fmt: skip
    for grid in (clients, probes):
        assert {len(line) for line in grid.lines} == {len(grid.headings)}


def test_clients_that_look_late_are_reported() -> None:
    late = replace(run_of("new", *MIXED), client_late=0.03)
    assert "the clients themselves looked up to 30 ms late" in findings_of(late).notes[0]
    assert (
        findings_of(replace(late, client_late=0.01)).notes
        == findings_of(run_of("new", *MIXED)).notes
    )


def test_the_report_has_both_tables_and_no_picture_of_uploads() -> None:
    found = findings_of(run_of("old", one()), run_of("new", *MIXED))
    page = report_html.render(found, command="python -m loadtest", facts={})
    assert page.count("<table>") == 2
    assert "5 refusals" in page
    assert "number of uploads" not in page


# The server's processes


@contextmanager
def parent_and_child() -> Iterator[tuple[int, psutil.Process]]:
    """A process that has started another, as gunicorn has its workers."""
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as parent:  # fmt: skip
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        try:
            yield parent.pid, child
        finally:
            with suppress(psutil.NoSuchProcess):
                child.kill()
            parent.kill()


def test_a_process_that_comes_to_its_end_is_counted_once() -> None:
    with parent_and_child() as (parent, child):
        watch = Watch([parent])
        watch.sample()
        assert watch.ended == 0
        child.kill()

        def noticed() -> bool:
            watch.sample()
            watch.descriptors()  # searches: a zombie must not be found again
            return watch.ended > 0

        wait_until(noticed, 10.0)
        watch.sample()
        assert watch.ended == 1


# Real servers


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


def test_both_workers_refuse_and_everything_is_written(tmp_path: Path, scratch: Path) -> None:
    files = {kind: tmp_path / f"report.{kind}" for kind in ("json", "html", "png")}
    outputs = [part for kind, file in files.items() for part in (f"--{kind}", str(file))]
    bare = [option for option in BARE if option != "--no-html"]
    outcome = load_test("--refusals", "4", "--size", "1MiB", *bare, *outputs, scratch=scratch)
    assert outcome.status == 0, outcome.out + outcome.err
    assert "4/4 cooperative, 4 refusals" in outcome.err
    lines = re.findall(r"^\| (gevent|cooperative) +\| +(\S+) \|.*\|$", outcome.out, re.MULTILINE)
    assert lines == [
        *(
            (server, kind)
            for server in ("gevent", "cooperative")
            for kind in (*refused.KINDS, ALL)
        ),
        *((server, kind) for server in ("gevent", "cooperative") for kind in ("idle", "4")),
    ]
    assert re.search(r"^Longest wait for a refusal .* on gevent, .* on cooperative; clients",
                     outcome.out, re.MULTILINE)  # fmt: skip

    found: dict[str, Any] = json.loads(files["json"].read_text())
    assert found["settings"]["refusals"] == 4
    for row in found["rows"]:
        if not row["clients"]:
            continue
        fates = row["fates"]["all"]
        assert fates["clients"] == 4
        assert fates["refused"] + fates["cut"] == 4
        assert row["workers_lost"] == 0
    for run in found["measurements"]:
        assert [each["kind"] for each in sorted(run["uploads"], key=lambda each: each["client"])] \
            == [*refused.KINDS, EXPECT][: run["clients"]]  # fmt: skip
    assert files["html"].read_text().startswith("<!doctype html>")
    assert files["png"].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("options", [("--tls", "--body", "chunked"), ("--repeat", "2")])
def test_a_small_body_is_refused_however_it_comes(options: tuple[str, ...], scratch: Path) -> None:
    clients = 2 * (2 if "--repeat" in options else 1)
    outcome = load_test("--refusals", "2", "--size", "16KiB", "--servers", "cooperative",
                        "--kinds", "watch", *BARE, *options,
                        "--assert", f"refused={clients},lost=0", scratch=scratch)  # fmt: skip
    assert outcome.status == 0, outcome.out + outcome.err


def test_a_demand_on_refusals_that_does_not_hold_is_status_1(scratch: Path) -> None:
    outcome = load_test("--refusals", "1", "--size", "16KiB", "--servers", "cooperative", *BARE,
                        "--assert", "status_max<1us", scratch=scratch)  # fmt: skip
    assert outcome.status == 1, outcome.out + outcome.err
    assert "status_max<1us does not hold" in outcome.err


@pytest.mark.parametrize(
    ("peer", "package"),
    [("uvicorn", "starlette"), ("aiohttp", "aiohttp"), ("granian", "granian")],
)
def test_a_peer_refuses_too(peer: str, package: str, scratch: Path) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package} (requirements/peers.txt)")
    outcome = load_test("--servers", peer, "--refusals", "2", "--kinds", "expect", "--size", "1kB",
                        *BARE, "--assert", "refused=2", scratch=scratch)  # fmt: skip
    assert outcome.status == 0, outcome.out + outcome.err
