"""The load test's refusals on real servers, whose processes are counted."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from loadtest_runs import BARE, load_test, wait_until

from loadtest.clients import refused
from loadtest.clients.refused import EXPECT
from loadtest.measuring.fates import ALL
from loadtest.measuring.resources import Watch

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
