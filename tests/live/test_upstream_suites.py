"""werkzeug's and Flask's own tests, as their source distributions have them, with ours in the way.

They run without it first: only those that pass then count.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from live_server import environment_with
from source_distributions import Unavailable, archive_of, do_without, unpack_tests


@dataclass(frozen=True)
class InTheWay:
    """Something of ours (see upstream_plugin.py), and what is tried with it.

    modules: those that make requests, or read what requests consist of.
    at_least: how many tests of those pass without it.
    differences: what fails with it, and why that is as it should be.
    """

    project: str
    what: str
    modules: tuple[str, ...]
    at_least: int
    differences: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.project}-{self.what}"


READERS = ("test_formparser.py", "sansio", "test_wsgi.py", "test_wrappers.py")
CLIENTS = ("middleware", "test_test.py", "test_datastructures.py", "test_exceptions.py")
VIEWS = (
    "test_request.py",
    "test_basic.py",
    "test_reqctx.py",
    "test_testing.py",
    "test_appctx.py",
    "test_blueprints.py",
    "test_helpers.py",
    "test_regression.py",
    "test_signals.py",
    "test_subclassing.py",
    "test_user_error_handler.py",
    "test_views.py",
)

IN_THE_WAY = [
    InTheWay("werkzeug", "patch", (*READERS, *CLIENTS), 400),
    InTheWay("werkzeug", "wrapper", (*READERS, *CLIENTS), 400),
    InTheWay(
        "werkzeug",
        "inputs",
        READERS,  # the test client wants to rewind and close the input of a request it made
        200,
        {
            "tests/test_wrappers.py::test_other_method_payload": "it looks for werkzeug's own"
            " stream that ends where the body does, and our input does that by itself",
        },
    ),
    InTheWay(
        "flask",
        "extension",
        VIEWS,
        250,
        {
            "tests/test_basic.py::test_app_freed_on_zero_refcount": "an application and its"
            " middleware refer to each other, whichever middleware app.wsgi_app is wrapped in",
        },
    ),
]


@dataclass
class Suite:
    """The tests of one project."""

    directory: Path

    def run(self, what: str, modules: tuple[str, ...]) -> set[str]:
        """The tests that pass with something in the way."""
        outcomes = self.directory / f"with-{what}.json"
        command = [sys.executable, "-m", "pytest", "--quiet", "-p", "upstream_plugin"]
        command += ["-p", "no:cacheprovider", *(f"tests/{name}" for name in modules)]
        more = {"UPSTREAM_WITH": what, "UPSTREAM_OUTCOMES": str(outcomes)}
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=environment_with(more),
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert outcomes.exists(), done.stdout + done.stderr
        print(done.stdout)  # for the report of a failure
        found: dict[str, str] = json.loads(outcomes.read_text())
        return {test for test, outcome in found.items() if outcome == "passed"}

    @functools.cached_property
    def passing(self) -> Callable[[tuple[str, ...]], set[str]]:
        """Those that pass without ours, by the modules that are run."""
        return functools.cache(functools.partial(self.run, ""))


@pytest.fixture(scope="module")
def suites(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Suite]:
    """The suite of a project; skips the test where it can't be had."""
    assert pytestconfig.cache is not None
    cache = pytestconfig.cache.mkdir("source-distributions")

    @functools.cache
    def unpacked(project: str) -> Suite:
        try:
            archive = archive_of(project, importlib.metadata.version(project), cache)
        except Unavailable as error:
            do_without(error)
        directory = tmp_path_factory.mktemp(project)
        unpack_tests(archive, directory / "tests")
        # A configuration of its own: not ours, and no warnings that are errors.
        (directory / "pytest.ini").write_text("[pytest]\nmarkers = dev_server: starts a server\n")
        return Suite(directory)

    return unpacked


@pytest.mark.timeout(400)  # seconds: a whole suite, twice
@pytest.mark.parametrize("ours", IN_THE_WAY, ids=str)
def test_with_ours_in_the_way(ours: InTheWay, suites: Callable[[str], Suite]) -> None:
    """What passed without it passes with it, but for what is named above."""
    suite = suites(ours.project)
    before = suite.passing(ours.modules)
    assert len(before) >= ours.at_least
    assert before - suite.run(ours.what, ours.modules) == set(ours.differences)
