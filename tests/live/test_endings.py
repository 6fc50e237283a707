"""How bodies end: one count for each, a line in the log for most, and nothing left behind."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator

import pytest
from counters import counted
from disk import small_file_system
from endings import (
    APPLICATION,
    BODY,
    CHUNKED,
    EXAMPLES,
    LIMITS,
    SIZE,
    announced,
)
from http2_client import Http2Connection
from http_client import (
    FORM_TYPE,
    Connection,
    Part,
    chunk,
    content,
    data_description,
    form,
    form_description,
    head,
    request,
)
from live_server import (
    Certificate,
    Gunicorn,
    LiveServer,
    descriptors,
    wait_for_other_worker,
    wait_until,
)
from uploads import EndlessUpload, HalfUpload

from cooperative_upload.monitoring.board import ENDINGS

SOON = 2.0  # seconds within which what an upload held is given back


def lines_about_uploads(server: LiveServer, before: int) -> list[str]:
    """Those of the log behind its first so many characters."""
    return [line for line in server.log()[before:].splitlines() if "] Upload " in line]


# Every ending


@pytest.fixture(scope="module")
def limited_server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    """One in which a body can end in every way."""
    with small_file_system(2_000_000) as directory:
        environment = {**LIMITS, "COOPERATIVE_UPLOAD_SPOOL_DIRECTORY": str(directory)}
        with LiveServer(gunicorn, application=APPLICATION, environment=environment) as server:
            yield server
            assert "Traceback" not in server.log()


@pytest.mark.parametrize("ending", EXAMPLES)
def test_ending_is_counted_and_logged(limited_server: LiveServer, ending: str) -> None:
    """As what it is, and as nothing else."""
    example = EXAMPLES[ending]
    before = len(limited_server.log())
    expected = {name: int(name == ending) for name in ENDINGS}
    with counted(limited_server, **expected), limited_server.connect() as connection:
        example.behave(connection)
        assert connection.response().status == example.status
    lines = lines_about_uploads(limited_server, before)
    assert len(lines) == (0 if example.line is None else 1), lines
    assert example.line is None or re.search(example.line, lines[0]), lines
    assert "secret" not in "".join(lines)


def test_turned_away_is_counted_and_logged(limited_server: LiveServer) -> None:
    """Beside an upload whose application takes its time."""
    before = len(limited_server.log())
    with (
        counted(limited_server, turned_away=1, complete=1),
        limited_server.connect() as first,
        limited_server.connect() as second,
    ):
        first.send(request("POST", "/when-told?name=turned-away", BODY))
        wait_until(lambda: view_waits(limited_server, "turned-away"), "the view to be called")
        assert second.post("/data", BODY).status == 503
        with limited_server.connect() as third:
            assert third.post("/go-on?name=turned-away", b"").status == 200
        assert first.response().status == 200
    (line,) = lines_about_uploads(limited_server, before)
    assert re.search(
        r"INFO\] Upload turned away: POST /data from 127.0.0.1, 0 of 1,000,000 bytes in .* s\. "
        r"Too many uploads at once: this server may have 1\.",
        line,
    ), line


def test_there_is_an_example_of_every_ending() -> None:
    assert {*EXAMPLES, "turned_away"} == set(ENDINGS)


def view_waits(server: LiveServer, name: str) -> bool:
    with server.connect() as connection:
        connection.send_request("GET", f"/waiting?name={name}")
        return bool(connection.response().json()[0])


# Clients that go away


@pytest.fixture(scope="module")
def plain_server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    with LiveServer(gunicorn, application=APPLICATION) as server:
        yield server
        assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def tls_server(gunicorn: Gunicorn, certificate: Certificate) -> Iterator[LiveServer]:
    options = ("--http-protocols", "h2,h1")
    with LiveServer(
        gunicorn, *options, application=APPLICATION, certificate=certificate
    ) as server:
        yield server
        assert not server.own_tracebacks()


@pytest.fixture(params=["plain", "TLS"])
def server(
    request: pytest.FixtureRequest, plain_server: LiveServer, tls_server: LiveServer
) -> LiveServer:
    return plain_server if request.param == "plain" else tls_server


def held(server: LiveServer) -> list[str]:
    """What requests hold in the worker: connections and spools."""
    (worker,) = server.workers()
    sockets = [path for path in descriptors(worker) if path.startswith("socket:")]
    return sockets[1:] + server.spooled_descriptors(worker)  # but for the listening socket


GOODBYES: dict[str, Callable[[Connection], None]] = {
    "half-close": Connection.end_sending,
    "close": lambda connection: connection.sock.close(),
    "killed": Connection.die,
    "reset": Connection.reset,
}


@pytest.mark.parametrize("goodbye", GOODBYES)
@pytest.mark.parametrize("framing", ["Content-Length", "chunked"])
def test_client_that_goes_away(server: LiveServer, framing: str, goodbye: str) -> None:
    """One line, no traceback, and all that it held is given back at once."""
    body = form(Part("file", content(2_000_000), "f.bin"))
    headers = {"Content-Type": FORM_TYPE}
    wait_until(lambda: not held(server), "the last test's connections are closed")
    before = len(server.log())
    with counted(server, incomplete=1), server.connect() as connection:
        if framing == "chunked":
            sent = head("POST", "/form", {**headers, **CHUNKED}) + chunk(body)
        else:
            sent = request("POST", "/form", body, headers)
        connection.send(sent[:1_500_000])
        server.wait_for_spool()
        GOODBYES[goodbye](connection)
        if goodbye == "half-close":
            assert connection.response().status == 400
            connection.sock.close()
        wait_until(lambda: not held(server), "all that the client held is given back", SOON)
    (line,) = lines_about_uploads(server, before)
    assert re.search(r"INFO\] Upload incomplete: POST /form from 127.0.0.1, [0-9,]+ ", line), line


@pytest.mark.parametrize("goodbye", GOODBYES)
def test_application_sees_that_its_client_went_away(server: LiveServer, goodbye: str) -> None:
    """A read raises, with the numbers."""
    with counted(server, incomplete=1), server.connect() as connection:
        connection.send(announced("/catch") + BODY[:200_000])
        with server.connect() as other:
            other.ping()
        GOODBYES[goodbye](connection)
    with server.connect() as connection:
        connection.send_request("GET", "/caught")
        found = connection.response().json()[-1]
    assert (found["class"], found["expected"]) == ("IncompleteBody", SIZE)
    assert found["received"] <= 200_000


def test_http2_client_that_cancels(tls_server: LiveServer) -> None:
    """One stream ends, and the connection goes on."""
    if tls_server.gunicorn.version < (27,):
        pytest.skip("this gunicorn calls no application for such a stream")
    before = len(tls_server.log())
    with (
        counted(tls_server, incomplete=1),
        tls_server.connect(protocols=("h2",)) as connection,
    ):
        http2 = Http2Connection(connection)
        stream = http2.begin("POST", "/data", {"Content-Length": str(SIZE)})
        http2.send(stream, BODY[:200_000])
        http2.cancel(stream)
        assert http2.response(http2.begin("GET", "/ping", end=True)).body == b"pong"
    (line,) = lines_about_uploads(tls_server, before)
    assert "[INFO] Upload incomplete: POST /data from 127.0.0.1, " in line
    assert "Traceback" not in tls_server.log()[before:]


def test_http2_request_without_a_body(tls_server: LiveServer) -> None:
    """Is no upload: it is not counted and has no line."""
    before = len(tls_server.log())
    with (
        counted(tls_server, **dict.fromkeys(ENDINGS, 0)),
        tls_server.connect(protocols=("h2",)) as connection,
    ):
        http2 = Http2Connection(connection)
        assert http2.response(http2.begin("GET", "/ping", end=True)).body == b"pong"
        assert http2.response(http2.begin("POST", "/unread", end=True)).body == b"unread"
        empty = http2.begin("POST", "/data", {"Content-Length": "0"}, end=True)
        assert http2.response(empty).json() == data_description(b"")
    assert lines_about_uploads(tls_server, before) == []


# Workers that end


def end_by_signal(server: LiveServer) -> None:
    server.signal(signal.SIGHUP)


def end_by_requests(server: LiveServer) -> None:
    for _ in range(20):
        with server.connect() as connection:
            connection.ping()


WAYS = {"SIGHUP": end_by_signal, "max_requests": end_by_requests}


@pytest.mark.parametrize("way", WAYS)
def test_upload_ends_before_its_worker(gunicorn: Gunicorn, way: str) -> None:
    """Others are served by the next worker meanwhile."""
    patience = ("--graceful-timeout", "15", "--max-requests", "20")
    with LiveServer(gunicorn, *patience, application=APPLICATION) as server:
        (old,) = server.workers()
        with HalfUpload(server) as upload:
            server.wait_for_spool()
            WAYS[way](server)
            if way == "SIGHUP":  # else the next worker comes when the old one has ended
                wait_for_other_worker(server, old)
            assert upload.finish().json() == form_description(upload.part)
        wait_for_other_worker(server, old)
        assert not server.own_tracebacks()


@pytest.mark.parametrize("way", WAYS)
def test_upload_that_its_worker_cannot_wait_for(gunicorn: Gunicorn, way: str) -> None:
    """A 503 for whoever has no response yet, whatever it does; and the worker ends."""
    patience = ("--graceful-timeout", "1", "--max-requests", "20")
    with LiveServer(gunicorn, *patience, application=APPLICATION) as server:
        (old,) = server.workers()
        with (
            HalfUpload(server) as stalled,
            EndlessUpload(server, "/sizes", as_form=True) as fast,
            server.connect() as busy,
            server.connect() as begun,
        ):
            server.wait_for_spool()
            fast.wait_for(1_000_000)
            busy.send(request("POST", "/when-told?name=never", BODY))
            begun.send(announced("/plain/begun") + BODY[:-1])
            WAYS[way](server)
            for connection in (stalled.connection, fast.connection, busy):
                response = connection.response()
                assert response.status == 503
                assert "The server is being restarted" in response.body.decode()
                assert response.headers["retry-after"] == "1"
                assert response.headers["connection"] == "close"
            with pytest.raises((EOFError, ConnectionError)):
                begun.response()
        wait_until(lambda: old not in server.workers(), "the old worker's end")
        assert server.log().count("Upload killed: POST ") == 4
        assert not server.own_tracebacks()
        assert server.answering_worker() != old
