"""What gunicorn's access log says of bodies, where the numbers are known."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from applications import BLOCK_BYTES
from checkout import MONITORING_PAGE
from http2_client import Http2Connection
from http_client import Connection, chunked, head, pieces_of
from live_server import COOPERATIVE, STOCK, Certificate, Gunicorn, LiveServer, wait_until
from overviews import (
    APPLICATION,
    BODY,
    SIZE,
    Hold,
    InChunks,
    OverHttp2,
    WithLength,
    by_another_upload,
    by_its_client,
    by_its_view,
    by_others_work,
    by_the_disk,
    told,
)

from cooperative_upload.monitoring.access_log import ATOMS

PREFIX = "cooperative_upload."
NAMES = [name.removeprefix(PREFIX) for name in ATOMS]
FORMAT = "ATOMS %(m)s %(U)s %(s)s " + " ".join(f"%({{{name}}}e)s" for name in ATOMS)

ENVIRONMENT = {
    "COOPERATIVE_UPLOAD_MAX_UPLOADS": "1",
    "COOPERATIVE_UPLOAD_MAX_UPLOADS_WAIT_SECONDS": "20",
    "COOPERATIVE_UPLOAD_DEADLINE_MS": "60000",
    "COOPERATIVE_UPLOAD_BODY_TIMEOUT_SECONDS": "5",
}
OPTIONS = ("--access-logfile", "-", "--access-logformat", FORMAT)

LONG = 1.0  # seconds that the tests hold up an upload
SHORT = 0.5  # seconds, more than anything else takes


@pytest.fixture(scope="module", params=[COOPERATIVE, STOCK, "gevent_pywsgi"])
def server(request: pytest.FixtureRequest, gunicorn: Gunicorn) -> Iterator[LiveServer]:
    """Our worker, or the middleware on another."""
    application = "application" if request.param == COOPERATIVE else "wrapped()"
    with LiveServer(
        gunicorn,
        *OPTIONS,
        application=f"overview_application:{application}",
        worker=request.param,
        environment=ENVIRONMENT,
    ) as server:
        yield server


@pytest.fixture(scope="module")
def tls_server(gunicorn: Gunicorn, certificate: Certificate) -> Iterator[LiveServer]:
    with LiveServer(
        gunicorn,
        *OPTIONS,
        "--http-protocols",
        "h2,h1",
        application=APPLICATION,
        environment=ENVIRONMENT,
        certificate=certificate,
    ) as server:
        yield server


def atoms_of(server: LiveServer, before: int, path: str) -> dict[str, str]:
    """What the log says of the request to this path, behind its first so many characters."""
    pattern = re.compile(rf"^ATOMS \w+ {path} \d+ (.*)$", re.MULTILINE)

    def line() -> re.Match[str] | None:
        return pattern.search(server.log()[before:])

    found = wait_until(line, f"a line about {path}")
    assert found is not None
    return dict(zip(NAMES, found.group(1).split(" "), strict=True))


def test_body_that_arrives_at_once(server: LiveServer) -> None:
    """All of it, and no time for anything."""
    before = len(server.log())
    with server.connect() as connection:
        assert connection.post("/stream", BODY).status == 200
    atoms = atoms_of(server, before, "/stream")
    assert atoms.pop("received") == str(SIZE)
    for name, value in atoms.items():
        assert re.fullmatch(r"\d+\.\d{3}", value), (name, value)
        assert float(value) < SHORT, (name, value)


def test_body_in_chunks(server: LiveServer) -> None:
    """Its bytes, without those of the coding."""
    before = len(server.log())
    with server.connect() as connection:
        connection.send(head("POST", "/stream", {"Transfer-Encoding": "chunked"}))
        connection.send(chunked(pieces_of(BODY, 1000)))
        assert connection.response().status == 200
    assert atoms_of(server, before, "/stream")["received"] == str(SIZE)


@pytest.mark.parametrize(
    ("method", "path", "body"), [("GET", "/ping", None), ("POST", "/data", b"")]
)
def test_request_without_a_body(
    server: LiveServer, method: str, path: str, body: bytes | None
) -> None:
    """Has nothing to say."""
    before = len(server.log())
    with server.connect() as connection:
        connection.send_request(method, path, body)
        assert connection.response().status == 200
    assert atoms_of(server, before, path) == dict.fromkeys(NAMES, "-")


# What each upload is held up by, and the atoms that have to tell of it.
HELD_UP: dict[str, tuple[Hold, set[str]]] = {
    "by its client": (by_its_client, {"arrival", "client_wait"}),
    "by others' work": (by_others_work, {"arrival", "turn_wait"}),
    "by another upload": (by_another_upload, {"arrival", "turn_wait"}),
    "by its view": (by_its_view, {"arrival"}),
    "by the disk": (by_the_disk, {"disk_wait"}),
}


def test_each_atom_is_told_apart() -> None:
    assert set().union(*(names for _, names in HELD_UP.values())) == set(NAMES) - {"received"}


@pytest.mark.parametrize("reason", HELD_UP)
def test_upload_that_is_held_up(server: LiveServer, reason: str) -> None:
    """For a second, which is where it belongs, and nowhere else."""
    hold, expected = HELD_UP[reason]
    check_held_up(server, lambda: server.connect(), WithLength, hold, expected)


@pytest.mark.parametrize("reason", ["by its client", "by the disk"])
@pytest.mark.parametrize("framing", ["TLS", "chunked TLS", "HTTP/2"])
def test_upload_over_tls_that_is_held_up(
    tls_server: LiveServer, framing: str, reason: str
) -> None:
    """The same."""
    if framing == "HTTP/2" and tls_server.gunicorn.version < (27,):
        pytest.skip("this gunicorn collects such bodies before it calls the application")
    senders = {"TLS": WithLength, "chunked TLS": InChunks, "HTTP/2": OverHttp2}
    protocols = ("h2",) if framing == "HTTP/2" else ()
    hold, expected = HELD_UP[reason]

    def connect() -> Connection:
        return tls_server.connect(protocols=protocols)

    check_held_up(tls_server, connect, senders[framing], hold, expected)


def check_held_up(
    server: LiveServer,
    connect: Callable[[], Connection],
    begin_with: type[WithLength],
    hold: Hold,
    expected: set[str],
) -> None:
    before = len(server.log())
    with connect() as connection:

        def begin(path: str, headers: dict[str, str]) -> WithLength:
            return begin_with(connection, path, headers)

        with hold(server, begin) as held:
            wait_until(lambda: age_of(server, held.path) > LONG, "it is held up long enough")
        assert held.response is not None
        assert held.response.status == 200
    atoms = atoms_of(server, before, held.path)
    assert atoms.pop("received") == str(SIZE)
    seconds = {name: float(value) for name, value in atoms.items()}
    long = {name for name, value in seconds.items() if value > LONG - 0.2}
    short = {name for name, value in seconds.items() if value < SHORT}
    assert long == expected, seconds
    assert long | short == set(seconds), seconds
    assert max(seconds.values()) < 10


def age_of(server: LiveServer, path: str) -> float:
    ages = [each["seconds"] for each in told(server)["uploads"] if each["path"] == path]
    return max(ages, default=0.0)


@pytest.mark.parametrize("worker", [COOPERATIVE, STOCK])
def test_body_that_stops(newest: Gunicorn, worker: str) -> None:
    """The time until the server gave up is the client's, and all the time that there was."""
    application = "application" if worker == COOPERATIVE else "wrapped()"
    environment = {"COOPERATIVE_UPLOAD_BODY_TIMEOUT_SECONDS": "1"}
    with LiveServer(
        newest,
        *OPTIONS,
        application=f"overview_application:{application}",
        worker=worker,
        environment=environment,
    ) as server:
        before = len(server.log())
        with server.connect() as connection:
            connection.send(head("POST", "/stream", {"Content-Length": str(SIZE)}) + BODY[:-1])
            assert connection.response().status == 408
        atoms = atoms_of(server, before, "/stream")
        lost = 0 if worker == COOPERATIVE else BLOCK_BYTES
        assert SIZE - 1 - lost <= int(atoms["received"]) <= SIZE - 1
        assert 0.9 < float(atoms["client_wait"]) < 5
        assert 0.9 < float(atoms["arrival"]) < 5
        assert float(atoms["turn_wait"]) < SHORT


def test_body_that_breaks_off(server: LiveServer) -> None:
    """What came of it; another server's input loses the block that was not whole."""
    before = len(server.log())
    with server.connect() as connection:
        connection.send(head("POST", "/stream", {"Content-Length": str(SIZE)}) + BODY[:100_000])
        connection.end_sending()
        assert connection.response().status == 400
    lost = 0 if "cooperative_upload.Worker" in server.log() else BLOCK_BYTES
    assert 100_000 - lost <= int(atoms_of(server, before, "/stream")["received"]) <= 100_000


def test_body_that_is_not_read(server: LiveServer) -> None:
    """Nothing was received when its response was made, and what is drained is not in it."""
    before = len(server.log())
    with server.connect() as connection:
        connection.send(head("POST", "/unread", {"Content-Length": str(SIZE)}))
        assert connection.response().body == b"unread"
        connection.send(BODY)
    atoms = atoms_of(server, before, "/unread")
    assert atoms["received"] == "0"
    assert float(atoms["client_wait"]) < SHORT


def test_http2_request_without_a_body(tls_server: LiveServer) -> None:
    before = len(tls_server.log())
    with tls_server.connect(protocols=("h2",)) as connection:
        http2 = Http2Connection(connection)
        assert http2.response(http2.begin("GET", "/ping", end=True)).body == b"pong"
    assert atoms_of(tls_server, before, "/ping") == dict.fromkeys(NAMES, "-")


def test_the_example_of_the_docs(newest: Gunicorn, tmp_path: Path) -> None:
    """monitoring.md shows the lines that its configuration gives."""
    page = MONITORING_PAGE.read_text()
    section = page.partition("\n## In the access log\n")[2].partition("\n## ")[0]
    (example,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (lines,) = re.findall(r"```text\n(.*?)```", section, re.DOTALL)
    configuration = tmp_path / "gunicorn.conf.py"
    configuration.write_text(example)
    with LiveServer(newest, "--config", str(configuration), application=APPLICATION) as server:
        with server.connect() as connection:

            def begin(path: str, headers: dict[str, str]) -> WithLength:
                return WithLength(connection, path, headers)

            with by_its_client(server, begin):
                wait_until(lambda: age_of(server, "/stream") > LONG, "it is held up long enough")
        for line in lines.splitlines():
            # With any digits, but for those behind the method and the path.
            times = re.sub(r"\d\\\.\d+", r"\\d\\.\\d+", re.escape(line))
            found = rf"^{times}$"
            wait_until(lambda found=found: re.search(found, server.log(), re.M), line)  # type: ignore[misc]
