"""What goes wrong while measuring: a clear sentence, a non-zero status, nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from loadtest_runs import BARE, SMALL, assert_nothing_left, load_test, running, wait_until

from loadtest import cli, parser
from loadtest.errors import LoadTestError, UsageError
from loadtest.servers import certificates, deployments, nginx

MOUNT = shutil.which("mount")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


class Handler(BaseHTTPRequestHandler):
    """A server that does wrong what `fault` says."""

    protocol_version = "HTTP/1.1"
    fault = ""
    pings = 0

    def do_GET(self) -> None:
        measured = self.headers["User-Agent"] == "loadtest"  # not the look whether we are there
        Handler.pings += measured
        broken = self.fault == "ping" and measured and Handler.pings > 20
        if self.fault == "redirect":
            self.send_response(302)
            self.send_header("Location", "http://localhost:1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.answer(500 if broken else 200, b"pong")

    def do_POST(self) -> None:
        if self.fault == "refuse":
            self.close_connection = True
            self.answer(413, b"too large")
            self.linger()
        elif self.fault == "cut":
            self.rfile.read(1_000_000)
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        elif self.fault == "hang":
            self.close_connection = True
            self.linger()
        else:
            length = int(self.headers["Content-Length"])
            while length:
                length -= len(self.rfile.read(min(length, 1 << 20)))
            self.answer(200, b'{"size": 123}' if self.fault == "wrong" else b"{}")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def linger(self) -> None:
        with contextlib.suppress(OSError):
            while self.rfile.read(1 << 20):
                pass

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def faulty(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server with the fault that is the test's parameter."""
    Handler.fault, Handler.pings = request.param, 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("faulty", "sentence"),
    [
        ("refuse", "2 of 2 uploads: refused with status 413"),
        ("cut", r"[12] of 2 uploads: cut \(.+\), after [\d,]+ of 10,000,"),
        ("wrong", r"2 of 2 uploads: the server received 123 of 10,000,000 bytes"),
        ("ping", r"\d+ of \d+ small requests: answered 500"),
        ("hang", r"2 of 2 uploads: not over after 2 s"),
    ],
    indirect=["faulty"],
)
def test_a_faulty_server_is_reported(faulty: str, sentence: str, scratch: Path) -> None:
    outcome = load_test("--url", faulty, "--uploads", "2", "--deadline", "2", *SMALL,
                        scratch=scratch)  # fmt: skip
    assert outcome.status == 3, outcome.out + outcome.err
    assert re.search(sentence, outcome.out), outcome.out
    assert "not everything went well" in outcome.err


@pytest.mark.parametrize(
    ("faulty", "columns", "note"),
    [
        ("refuse", "2 | 2 | 0 | 0 | 0", ""),
        ("wrong", "2 | 0 | 2 | 0 | 0", "2 of 2 uploads: answered 200 instead of 413"),
        ("cut", "2 | 0 | 0 | 2 | 0", "uploads: cut ("),
        ("hang", "2 | 0 | 0 | 0 | 2", "2 of 2 uploads: no answer after 1 s"),
    ],
    indirect=["faulty"],
)
def test_what_becomes_of_refused_clients_is_a_figure_and_no_fault(
    faulty: str, columns: str, note: str, scratch: Path
) -> None:
    outcome = load_test("--url", faulty, "--refusals", "2", "--kinds", "watch", "--size", "8MB",
                        "--status", "413", "--deadline", "1", *BARE, scratch=scratch)  # fmt: skip
    assert outcome.status == 0, outcome.out + outcome.err
    table = re.sub(" +", " ", outcome.out)
    assert re.search(rf"\| watch \| {re.escape(columns)} \|", table), outcome.out
    assert note in outcome.out
    assert re.search(r"^\| 127[^|]+\| 2 \|.*\| - \|$", table, re.MULTILINE)  # workers lost


@pytest.mark.parametrize("faulty", ["refuse"], indirect=True)
def test_clients_that_are_not_left_to_stall_are_a_fault(faulty: str, scratch: Path) -> None:
    outcome = load_test("--url", faulty, "--stalled", "3", "--total", "1MB", "--size", "1MB",
                        "--no-html", "--no-warm-up", scratch=scratch)  # fmt: skip
    assert outcome.status == 3, outcome.out + outcome.err
    assert "The 3 clients that are to stall can't: refused with status 413." in outcome.err


@pytest.mark.parametrize("faulty", ["redirect"], indirect=True)
def test_a_redirect_is_not_followed(faulty: str, scratch: Path) -> None:
    outcome = load_test("--url", faulty, *SMALL, scratch=scratch)
    assert outcome.status == 3
    assert "answers GET /ping with status 302" in outcome.err


def test_a_server_that_does_not_start_shows_its_log(scratch: Path) -> None:
    outcome = load_test("--servers", "nothing=no.such.Worker", *SMALL, scratch=scratch)
    assert outcome.status == 3
    assert "nothing ended by itself (status 1)" in outcome.err
    assert "  | " in outcome.err
    assert "No module named 'no'" in outcome.err


def test_a_port_in_use(scratch: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = load_test("--port", str(port), *SMALL, scratch=scratch)
    assert outcome.status == 3
    assert f"Port {port} on 127.0.0.1 cannot be used: Address already in use." in outcome.err


def test_nobody_listens(scratch: Path) -> None:
    outcome = load_test("--url", "http://127.0.0.1:9", *SMALL, scratch=scratch)
    assert outcome.status == 3
    assert "127.0.0.1:9 cannot be reached" in outcome.err


LONG = ("--servers", "cooperative", "--uploads", "1", "--total", "1GB", "--speed", "1MB/s",
        "--no-warm-up", "--no-html", "--idle-seconds", "0.1")  # fmt: skip


def test_a_server_that_dies_in_the_middle(scratch: Path) -> None:
    with running(*LONG, scratch=scratch) as run:
        wait_until(lambda: len(run.wait_for_child("gunicorn")) >= 2, 30.0)
        master, *workers = sorted(run.wait_for_child("gunicorn"), key=lambda p: p.create_time())
        for process in (master, *workers):
            with contextlib.suppress(Exception):
                process.kill()
        outcome = run.outcome()
    assert outcome.status == 3
    assert "cooperative ended by itself (signal 9)" in outcome.err
    assert_nothing_left(scratch)


def test_a_worker_that_dies_in_the_middle_is_counted(scratch: Path) -> None:
    slow = ("--servers", "cooperative", "--uploads", "1", "--total", "3MB", "--speed", "1MB/s")
    with running(*slow, *BARE, scratch=scratch) as run:
        run.wait_for_child("spawn_main")  # both measuring processes: it is not the idle server's
        _, worker = sorted(run.wait_for_child("gunicorn"), key=lambda p: p.create_time())
        wait_until(lambda: is_connected(worker), 30.0)
        worker.kill()
        outcome = run.outcome()
    assert "cooperative with 1 upload: the server lost 1 worker." in outcome.out, outcome.err
    assert_nothing_left(scratch)


def is_connected(process: psutil.Process) -> bool:
    return any(each.status == "ESTABLISHED" for each in process.net_connections("tcp"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(number: signal.Signals, scratch: Path) -> None:
    with running(*LONG, scratch=scratch) as run:
        run.wait_for_child("spawn_main")  # both measuring processes are there
        run.signal(number)
        run.signal(number)  # impatience must not leave anything behind
        outcome = run.outcome()
    assert outcome.status == 128 + number
    assert f"ended by {number.name}" in outcome.err
    assert "Traceback" not in outcome.err
    assert_nothing_left(scratch)


def test_a_killed_load_test_leaves_no_measuring_process(scratch: Path) -> None:
    """Its servers it can't end then, which is what SIGKILL means."""
    with running(*LONG, scratch=scratch) as run:
        members = run.wait_for_child("spawn_main")
        servers = [p for p in run.descendants() if p not in members]
        run.signal(signal.SIGKILL)
        run.outcome()
        try:
            wait_until(lambda: not any(member.is_running() for member in members), 10.0)
        finally:
            for process in servers:
                with contextlib.suppress(Exception):
                    process.kill()


@pytest.mark.skipif(os.geteuid() != 0 or MOUNT is None, reason="needs root, to mount a small disk")
def test_a_disk_that_is_too_small(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "none", str(disk)])
    if mounted.returncode:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        outcome = load_test(*SMALL, scratch=disk)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert outcome.status == 2
    assert f"The uploads need 0.02 GB and {disk} has 0.01 GB free" in outcome.err


def test_a_report_that_cannot_be_written_leaves_no_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(LoadTestError, match=r"report\.json could not be written: No space left"):
        cli.replace(tmp_path / "report.json", b"{}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--json", "--html", "--png"])
@pytest.mark.parametrize("place", ["/no/such/place", "/", "/dev/null", "/proc/place"])
def test_what_cannot_be_written_is_noticed_before_measuring(
    option: str, place: str, scratch: Path
) -> None:
    """No directory of that name, a directory, a device, and a file system without new files."""
    outcome = load_test(*SMALL, option, place, scratch=scratch)
    assert outcome.status == 2
    assert f"{place} cannot be written" in outcome.err
    assert "idle" not in outcome.err


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    """What stands there is replaced by the result alone."""
    (tmp_path / "old.json").write_text("old")
    cli._check_writable([tmp_path / "old.json", tmp_path / "new.json", None])
    assert [file.name for file in tmp_path.iterdir()] == ["old.json"]
    assert (tmp_path / "old.json").read_text() == "old"


def test_each_option_has_a_text() -> None:
    actions = parser.make_parser()._actions
    assert len(actions) > 30
    assert not [action.option_strings for action in actions if not action.help]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--servers", "apache"), "'apache' is no server of the load test"),
        (("--url", "ftp://localhost:1"), "is no URL of the form"),
        (("--url", "http://localhost:1/path"), "must name a host and a port only"),
        (("--assert", "speed>1"), "is no assertion"),
        (("--http2",), "add --tls"),
        (("--total", "many"), "is not a number with a unit"),
        (("--header", "nonsense"), "is no header"),
        (("--refusals", "none"), "'none' is no number of clients"),
        (("--stalled", "0"), "'0' is no number of clients"),
        (("--refusals", "1000"), "More than 900 clients at once are too many."),
        (("--refusals", "--stalled"), "--refusals and --stalled are measured one at a time."),
        (("--refusals", "--tax"), "--tax and --refusals are measured one at a time."),
        (("--refusals", "--kinds", "expect,hope"), "kinds of refused clients are expect, watch, "),
        (("--refusals", "--status", "200"), "The status of a refusal is from 400 to 599."),
        (("--refusals", "--uploads", "4"), "--uploads means nothing to the scenario of refusals."),
        (("--refusals", "--sha256"), "--sha256 means nothing to the scenario of refusals."),
        (("--refusals", "--http2", "--tls"), "clients are measured over HTTP/1.1."),
        (("--refusals", "--servers", "waitress"), "store a body before the application"),
        (("--stalled", "--speed", "stall"), "--speed means nothing to the scenario of stalled."),
        (("--stalled", "--held", "100MB"), "--held is less than --size"),
        (("--stalled", "--total", "1000GB"), "The uploads need 1,000.10 GB"),
        (("--kinds", "watch"), "--kinds means nothing to the scenario of uploads."),
        (("--port", "80000"), "A port is from 1 to 65535"),
        (("--port", "-1"), "A port is from 1 to 65535"),
        (("--seconds", "0"), "A run takes more than 0 seconds."),
        (("--seconds", "-3"), "'-3' is not a number with a unit"),
        (("--seconds", "inf"), "'inf' is not a number with a unit"),
        (("--seconds", "9" * 400), "A run takes more than 0 seconds."),
        (("--idle-seconds", "0"), "The idle server is measured for more than 0 seconds."),
        (("--idle-seconds", "nan"), "'nan' is not a number with a unit"),
        (("--deadline", "0s"), "The deadline is more than 0 seconds."),
        (("--rate", "nan"), "The rate is more than 0"),
        (("--tax", "-1"), "'-1' is no number of pairs"),
        (("--tax", "0"), "'0' is no number of pairs"),
        (("--tax", "--png", "a.png"), "--json, and no report or picture"),
        (("--tax", "--html", "a.html"), "--json, and no report or picture"),
        (("--tax", "--json", "/"), "/ cannot be written"),
        (("--tax", "--assert", "p99<1s"), "--tax has no figures for --assert"),
        (("--servers", "gevent", "--assert", "ratio>=2"), "a ratio is that of another server"),
        (("--assert", "gevent.ratio>=2"), "a ratio is that of another server"),
        (("--assert", "sync.p99<1s"), "sync is not measured, but gevent, cooperative"),
        (("--assert", "p99@3<1s"), "no 3 clients at once are measured"),
        (("--assert", "refused=100"), "refused is a figure of --refusals"),
        (("--refusals", "--assert", "kept>=1"), "kept is a figure of --stalled"),
        (("--refusals", "--assert", "ratio>=1"), "nothing is uploaded there"),
        (("--refusals", "--kinds", "watch", "--assert", "cut@expect=0"), "no expect clients"),
        (("--refusals", "--assert", "p99@watch<1s"), "p99 is not about one kind of client"),
        (("--stalled", "9", "--assert", "kept@1>=1"), "no 1 clients at once are measured"),
        (("--uploads", "0", "--assert", "p99<1s"), "only the idle server is measured"),
        (("--url", "http://127.0.0.1:1", "--assert", "MiB<9"), "MiB is not known of a server"),
    ],
)
def test_a_senseless_command_line_is_status_2(
    arguments: tuple[str, ...], sentence: str, scratch: Path
) -> None:
    options = ("--no-html", *arguments) if "--html" not in arguments else arguments
    outcome = load_test(*options, scratch=scratch)
    assert outcome.status == 2
    assert sentence in " ".join(outcome.err.split())
    assert "Traceback" not in outcome.err
    assert not re.search(
        r"^\d+/\d+ |how fast is", outcome.err, re.MULTILINE
    )  # nothing was measured


def test_a_missing_nginx_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(UsageError, match="nginx, which is not installed"):
        nginx.nginx_command("nginx", host="127.0.0.1", port=1, upstream_port=2,
                            directory=tmp_path, certificate=None, http2=False)  # fmt: skip


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(UsageError, match="pip install trustme"):
        certificates.make_certificate(tmp_path, "127.0.0.1")


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(LoadTestError, match=r"no-such-host\.invalid is not known"):
        deployments.parse_url("http://no-such-host.invalid")
