"""Fixtures for the tests that run real servers, and the log of those in a failure's report."""

from __future__ import annotations

import datetime
import ssl
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import trustme
from checkout import ROOT
from fuzzing import campaign_report, timed_portion
from live_server import STOCK, Certificate, Gunicorn, LiveServer
from s3_servers import S3Server, seaweedfs
from shared_server import SharedServer
from swift_server import Swift, running_swift
from werkzeug_names import REPLACED

from cooperative_upload import settings_in_force

OLDEST = ROOT / ".venv-oldest" / "bin" / "python"

# Every threshold of the package far below the sizes of the tests' bodies.
SMALL_THRESHOLDS = {
    "COOPERATIVE_UPLOAD_SMALL_BODY_BYTES": "0",
    "COOPERATIVE_UPLOAD_SPOOL_MEMORY_BYTES": "1000",
    "COOPERATIVE_UPLOAD_SPOOL_BATCH_BYTES": "4096",
    "COOPERATIVE_UPLOAD_SLICE_MS": "0.05",
    # None, as on the stock worker, whose answers theirs are compared with.
    "COOPERATIVE_UPLOAD_MAX_PART_HEADER_BYTES": "0",
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the running servers wrote, below a failure."""
    report = yield
    if report.failed:
        logs = [*LiveServer.logs_of_ended, *(server.log_tail() for server in LiveServer.running)]
        report.sections.extend(("log of a server", log) for log in logs)
    if call.when == "teardown":
        LiveServer.logs_of_ended.clear()
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many cases a fuzz campaign ran."""
    for line in campaign_report():
        terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def settings_of_this_test() -> Iterator[None]:
    """A worker, or the command line, in the process of a test changes those of the process."""
    before = settings_in_force._of_process
    yield
    settings_in_force._of_process = before


@pytest.fixture
def fuzz_portion(request: pytest.FixtureRequest) -> Iterator[None]:
    """One portion of the cases of a fuzz test."""
    with timed_portion(request.function.__name__):
        yield


@pytest.fixture(scope="session")
def newest() -> Gunicorn:
    """The gunicorn of the environment that runs the tests."""
    return Gunicorn(Path(sys.executable))


@pytest.fixture(scope="session")
def oldest() -> Gunicorn:
    """The oldest supported gunicorn with the oldest gevent and werkzeug."""
    if not OLDEST.exists():
        pytest.fail("there is no .venv-oldest with the oldest versions: `make test` builds it")
    return Gunicorn(OLDEST)


@pytest.fixture(scope="session", params=["newest", "oldest"])
def gunicorn(request: pytest.FixtureRequest) -> Gunicorn:
    """The newest gunicorn and the oldest."""
    installation: Gunicorn = request.getfixturevalue(request.param)
    return installation


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for localhost."""
    authority = trustme.CA()
    tomorrow = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    directory = tmp_path_factory.mktemp("certificate")
    chain, trusted = directory / "localhost.pem", directory / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    authority.issue_cert(
        "localhost", not_after=tomorrow
    ).private_key_and_cert_chain_pem.write_to_path(str(chain))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return Certificate(chain, trusted, context)


@pytest.fixture(scope="session")
def default_server(gunicorn: Gunicorn) -> Iterator[SharedServer]:
    with LiveServer(gunicorn) as server:
        yield SharedServer(server)


@pytest.fixture(scope="session")
def small_thresholds_server(gunicorn: Gunicorn) -> Iterator[SharedServer]:
    with LiveServer(gunicorn, environment=SMALL_THRESHOLDS) as server:
        yield SharedServer(server)


@pytest.fixture(scope="session")
def stock(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    """The stock worker: how it answers a request that is sound is how ours has to."""
    with LiveServer(gunicorn, worker=STOCK) as server:
        yield server


@pytest.fixture
def server(default_server: SharedServer) -> Iterator[LiveServer]:
    """A server with default settings, shared; no test may leave a trace on it."""
    with default_server.left_as_it_was() as server:
        yield server


@pytest.fixture(params=["defaults", "small thresholds"])
def any_server(
    request: pytest.FixtureRequest,
    default_server: SharedServer,
    small_thresholds_server: SharedServer,
) -> Iterator[LiveServer]:
    """As `server`, with default settings and with settings far below the tests' sizes."""
    shared = default_server if request.param == "defaults" else small_thresholds_server
    with shared.left_as_it_was() as server:
        yield server


@pytest.fixture(scope="session")
def swift() -> Iterator[Swift]:
    """An OpenStack Swift, shared: each test has containers of its own."""
    with running_swift() as running:
        yield running


@pytest.fixture
def werkzeug_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """werkzeug is as it was after the test."""
    for owner, name in REPLACED:
        monkeypatch.setattr(owner, name, getattr(owner, name))


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real store that speaks S3, shared: a test makes a bucket of its own."""
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server
