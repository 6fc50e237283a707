"""The load test, run for real on real servers with small sizes."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT
from loadtest_runs import SMALL, answers, load_test, wait_until

from loadtest.servers.processes import free_port


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[int]:
    """A server that a user started by hand; its port."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-b", f"127.0.0.1:{port}",
               "--pythonpath", str(ROOT / "examples"), "demo:app"]  # fmt: skip
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: answers(port), 20.0)
            yield port
        finally:
            process.terminate()


def test_both_workers_are_measured_and_everything_is_written(
    tmp_path: Path, scratch: Path
) -> None:
    files = {kind: tmp_path / f"report.{kind}" for kind in ("json", "html", "png")}
    outputs = [part for kind, file in files.items() for part in (f"--{kind}", str(file))]
    small = [option for option in SMALL if option != "--no-html"]
    outcome = load_test("--uploads", "1,2", *small, *outputs, scratch=scratch)
    assert outcome.status == 0, outcome.err
    assert len(re.findall(r"^\| (?:gevent|cooperative) .*\|$", outcome.out, re.MULTILINE)) == 6
    assert re.search(r"Worst request .* on gevent, .* on cooperative; uploads", outcome.out)
    assert "6/6 cooperative, 2 uploads" in outcome.err

    found: dict[str, Any] = json.loads(files["json"].read_text())
    assert [(row["server"], row["clients"]) for row in found["rows"]] == [
        (server, clients) for server in ("gevent", "cooperative") for clients in (0, 1, 2)
    ]
    for row in found["rows"]:
        assert row["requests"] > 0
        assert 0 < row["latency"]["p50"] <= row["latency"]["p99"] <= row["latency"]["max"]
        assert row["errors"] == row["unanswered"] == row["failed_uploads"] == 0
        assert row["peak_memory"] > 10 << 20
        assert row["cpu_seconds"] >= 0
        assert (row["mb_per_s"] > 1) == (row["clients"] > 0)
    assert found["environment"]["gunicorn"]
    assert files["html"].read_text().startswith("<!doctype html>")
    assert files["png"].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("body", ["form", "form-small-parts", "raw", "chunked"])
def test_every_kind_of_body_arrives_whole(body: str, scratch: Path) -> None:
    outcome = load_test("--servers", "cooperative", "--uploads", "3", "--body", body, "--sha256",
                        *SMALL, "--assert", "errors=0", scratch=scratch)  # fmt: skip
    assert outcome.status == 0, outcome.out + outcome.err


@pytest.mark.parametrize("body", ["raw", "chunked"])
@pytest.mark.parametrize("servers", ["cooperative,gevent", "aiohttp"])
def test_what_is_stored_arrives_whole(servers: str, body: str, scratch: Path) -> None:
    """Each client's body in a file of its own, by the digest that the server makes of it."""
    outcome = load_test("--store", "--servers", servers, "--uploads", "3", "--body", body,
                        "--sha256", *SMALL, "--assert", "errors=0", scratch=scratch)  # fmt: skip
    assert outcome.status == 0, outcome.out + outcome.err


@pytest.mark.parametrize("server", ["gthread", "sync", "mine=cooperative_upload.Worker"])
def test_other_servers_are_measured_the_same_way(server: str, scratch: Path) -> None:
    outcome = load_test("--servers", server, "--uploads", "2", *SMALL, scratch=scratch)
    assert outcome.status == 0, outcome.out + outcome.err
    assert f"| {server.partition('=')[0]} " in outcome.out


def test_slow_clients_and_several_workers(scratch: Path) -> None:
    outcome = load_test("--servers", "cooperative", "--uploads", "2", "--speed", "20MB/s,full",
                        "--workers", "2", *SMALL, scratch=scratch)  # fmt: skip
    assert outcome.status == 0, outcome.out + outcome.err
    assert 0 < uploads_speed(outcome.out) < 45  # the slow half of the bytes takes half a second


def uploads_speed(table: str) -> float:
    """MB/s of the last row."""
    rows = [line for line in table.splitlines() if line.startswith("| cooperative")]
    return float(rows[-1].split("|")[3])


def test_tls(scratch: Path) -> None:
    outcome = load_test("--servers", "cooperative", "--uploads", "2", "--tls", "--sha256", *SMALL,
                        scratch=scratch)  # fmt: skip
    assert outcome.status == 0, outcome.out + outcome.err


@pytest.mark.skipif(not shutil.which("nginx", path="/usr/sbin:/usr/bin"), reason="needs nginx")
@pytest.mark.parametrize("options", [("nginx",), ("nginx-unbuffered",), ("nginx", "--tls")])
def test_behind_nginx(options: tuple[str, ...], scratch: Path) -> None:
    outcome = load_test("--servers", "cooperative", "--uploads", "2", "--behind", *options, *SMALL,
                        scratch=scratch)  # fmt: skip
    assert outcome.status == 0, outcome.out + outcome.err


def test_repetitions_give_medians(scratch: Path) -> None:
    outcome = load_test("--servers", "cooperative", "--uploads", "1", "--repeat", "2", *SMALL,
                        scratch=scratch)  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert "medians of 2 runs" in outcome.out
    assert "4/4 cooperative, 1 upload" in outcome.err


def test_the_cost_of_requests_without_a_body(tmp_path: Path, scratch: Path) -> None:
    file = tmp_path / "tax.json"
    outcome = load_test("--tax", "2", "--json", str(file), scratch=scratch)
    assert outcome.status == 0, outcome.err
    one, other = json.loads(file.read_text())["tax"]
    assert (one["server"], one["ratio"], other["server"]) == ("gevent", 1.0, "cooperative")
    assert f" {other['per_second']:,.0f} |" in outcome.out
    assert re.search(r"^\| cooperative \| +[\d,]+ \| [01]\.\d{3} \|", outcome.out, re.MULTILINE)


def test_a_server_of_the_users_own(own_server: int, scratch: Path) -> None:
    url = f"http://localhost:{own_server}"
    outcome = load_test("--url", url, "--uploads", "2", *SMALL, "--sha256", scratch=scratch)
    assert outcome.status == 0, outcome.out + outcome.err
    assert f"| localhost:{own_server} " in outcome.out


def test_two_servers_of_the_users_own_are_compared(own_server: int, scratch: Path) -> None:
    urls = ("--url", f"http://localhost:{own_server}", "--url", f"http://127.0.0.1:{own_server}")
    outcome = load_test(*urls, "--uploads", "1", *SMALL, scratch=scratch)
    assert outcome.status == 0, outcome.err
    assert "times as fast" in outcome.out


def test_a_demand_that_does_not_hold_is_status_1(own_server: int, scratch: Path) -> None:
    url = f"http://localhost:{own_server}"
    outcome = load_test("--url", url, "--uploads", "1", *SMALL, "--assert", "p50<1us,MB/s>1",
                        scratch=scratch)  # fmt: skip
    assert outcome.status == 1
    assert "p50<1us does not hold" in outcome.err
    assert "MB/s" not in outcome.err


def test_it_never_imports_what_it_measures() -> None:
    code = (
        "import pkgutil, sys, loadtest\n"
        "for module in pkgutil.walk_packages(loadtest.__path__, 'loadtest.'):\n"
        "    if module.name != 'loadtest.__main__' and '.peers' not in module.name:\n"
        "        __import__(module.name)\n"
        "print([name for name in sys.modules if name.split('.')[0] in"
        " ('cooperative_upload', 'gevent', 'gunicorn', 'werkzeug', 'flask')])"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert said.stdout == "[]\n", said.stdout + said.stderr


@pytest.mark.parametrize("proxy", [(), ("--behind", "nginx")])
def test_http2(proxy: tuple[str, ...], scratch: Path) -> None:
    if proxy and not shutil.which("nginx", path="/usr/sbin:/usr/bin"):
        pytest.skip("needs nginx")
    outcome = load_test("--servers", "cooperative", "--uploads", "2", "--tls", "--http2", *proxy,
                        "--sha256", *SMALL, scratch=scratch)  # fmt: skip
    assert outcome.status == 0, outcome.out + outcome.err


@pytest.mark.parametrize(
    ("peer", "package"),
    [("uvicorn", "starlette"), ("aiohttp", "aiohttp"), ("granian", "granian"),
     ("waitress", "waitress")],
)  # fmt: skip
def test_a_peer_does_the_same_job(peer: str, package: str, scratch: Path) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package} (requirements/peers.txt)")
    for body in ("form", "raw"):
        outcome = load_test("--servers", peer, "--uploads", "2", "--body", body, "--sha256",
                            *SMALL, scratch=scratch)  # fmt: skip
        assert outcome.status == 0, outcome.out + outcome.err
