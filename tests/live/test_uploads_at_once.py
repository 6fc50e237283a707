"""How many uploads a worker receives at once, in all and from each client."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator

import other_clients
import pytest
from counters import counted
from http_client import (
    DEADLINE,
    Connection,
    Part,
    Response,
    chunk,
    content,
    data_description,
    form_description,
    head,
    request,
)
from large_response_application import SIZE as RESPONSE_SIZE
from live_server import COOPERATIVE, STOCK, Certificate, Gunicorn, LiveServer, wait_until
from other_clients import Upload
from uploads import HalfUpload

APPLICATION = "ending_application:application"
CHUNKED = {"Transfer-Encoding": "chunked"}

LARGE = content(1_000_000)
REFUSED = "Too many uploads at once: {} may have 1. Try again in a while."


@pytest.fixture(scope="module")
def refusing_server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    """One upload at once."""
    environment = {
        "COOPERATIVE_UPLOAD_MAX_UPLOADS": "1",
        "COOPERATIVE_UPLOAD_RETRY_AFTER_SECONDS": "7",
    }
    with LiveServer(gunicorn, application=APPLICATION, environment=environment) as server:
        yield server


@pytest.fixture(scope="module")
def fair_server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    """One upload at once from each address."""
    environment = {"COOPERATIVE_UPLOAD_MAX_UPLOADS_PER_CLIENT": "1"}
    with LiveServer(gunicorn, application=APPLICATION, environment=environment) as server:
        yield server


# Says in the log when the headers of a request have been read.
CONFIGURATION = """
def pre_request(worker, req):
    worker.log.info("Came: %s %s", req.path, req.query)
"""


@pytest.fixture(scope="module")
def patient_server(
    gunicorn: Gunicorn, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    """One upload at once, for which others wait."""
    configuration = tmp_path_factory.mktemp("configuration") / "gunicorn.conf.py"
    configuration.write_text(CONFIGURATION)
    environment = {
        "COOPERATIVE_UPLOAD_MAX_UPLOADS": "1",
        "COOPERATIVE_UPLOAD_MAX_UPLOADS_WAIT_SECONDS": "3",
    }
    with LiveServer(
        gunicorn,
        *("--config", str(configuration)),
        application=APPLICATION,
        environment=environment,
    ) as server:
        yield server
        assert "Traceback" not in server.log()


def check_turned_away(response: Response, whose: str, retry_after: int) -> None:
    assert response.status == 503
    assert REFUSED.format(whose) in response.body.decode()
    assert response.headers["retry-after"] == str(retry_after)
    assert response.headers["connection"] == "close"


def has_a_place(server: LiveServer) -> bool:
    """Whether an upload is accepted now."""
    with server.connect() as connection:
        response = connection.post("/data", LARGE)
    assert response.status in (200, 503)
    return response.status == 200


def check_one_place(server: LiveServer) -> None:
    """No more and no less: one upload is accepted, and no second one beside it."""
    wait_until(lambda: has_a_place(server), "a place")
    with HalfUpload(server) as upload:
        server.wait_for_spool()
        assert not has_a_place(server)
        assert upload.finish().json() == form_description(upload.part)
    wait_until(lambda: has_a_place(server), "the place again")


def test_one_upload_too_many_is_a_503(
    refusing_server: LiveServer, certificate: Certificate
) -> None:
    """Before it is sent, if the client asks; small requests and small forms are no uploads."""
    with HalfUpload(refusing_server) as upload:
        refusing_server.wait_for_spool()
        with counted(refusing_server, turned_away=1), refusing_server.connect() as connection:
            check_turned_away(connection.post("/data", LARGE), "this server", 7)
        asking = Upload(refusing_server, certificate, "/data", LARGE)
        answer = other_clients.curl_that_asks(asking)
        assert (answer.status, answer.sent) == (503, 0)
        large = Upload(refusing_server, certificate, "/data", content(20_000_000))
        assert other_clients.standard_library(large).status == 503
        with refusing_server.connect() as connection:
            connection.ping()
            login = Part("name", b"someone")
            assert connection.post_form("/form", login).json() == form_description(login)
        assert upload.finish().json() == form_description(upload.part)


ENDINGS: dict[str, bytes] = {
    "complete": request("POST", "/data", LARGE),
    "unread": request("POST", "/unread", LARGE),
    "drained": request("POST", "/some?bytes=900000", LARGE),
    "the view raises": request("POST", "/raise-at-once", LARGE),
    "the application raises": request("POST", "/plain?method=none", LARGE),
    "the view gives up": request("POST", "/give-up", LARGE)[:-1],
    "killed": request("POST", "/exit", LARGE),
    "malformed": head("POST", "/data", CHUNKED) + chunk(LARGE) + b"oops\r\n",
}


@pytest.mark.parametrize("ending", [*ENDINGS, "half-close", "close", "reset"])
def test_place_is_given_back(refusing_server: LiveServer, ending: str) -> None:
    """However the upload ends."""
    wait_until(lambda: has_a_place(refusing_server), "a place")
    with refusing_server.connect() as connection:
        if ending in ENDINGS:
            connection.send(ENDINGS[ending])
            assert connection.response().status != 503 or ending == "killed"
        else:
            connection.send(request("POST", "/data", LARGE)[:-1])
            wait_until(lambda: not has_a_place(refusing_server), "the upload's beginning")
        if ending == "half-close":
            connection.end_sending()
            assert connection.response().status == 400
        elif ending == "reset":
            connection.reset()
    check_one_place(refusing_server)


def connection_from(server: LiveServer, address: str) -> Connection:
    """Of a client with this address of the loopback's."""
    target = ("127.0.0.1", server.port)
    return Connection(socket.create_connection(target, DEADLINE, (address, 0)))


def test_each_client_has_its_places(fair_server: LiveServer) -> None:
    """One that uses all of its own takes none of the others'."""
    with HalfUpload(fair_server) as upload:
        fair_server.wait_for_spool()
        with counted(fair_server, turned_away=1), fair_server.connect() as connection:
            check_turned_away(connection.post("/data", LARGE), "this client", 10)
        with connection_from(fair_server, "127.0.0.2") as connection:
            assert connection.post("/data", LARGE).json() == data_description(LARGE)
        assert upload.finish().json() == form_description(upload.part)
    check_one_place(fair_server)


def names_that_came(server: LiveServer) -> list[str]:
    """Of the requests for /note, in the order in which the server read them."""
    return re.findall(r"Came: /note name=(\w+)", server.log())


def test_uploads_wait_in_line(patient_server: LiveServer) -> None:
    """First come, first served."""
    number = 10
    with HalfUpload(patient_server) as upload, counted(patient_server, turned_away=0):
        patient_server.wait_for_spool()
        connections = [patient_server.connect() for _ in range(number)]
        for name, connection in enumerate(connections):
            connection.send(request("POST", f"/note?name={name}", LARGE))
        wait_until(lambda: len(names_that_came(patient_server)) == number, "all to wait")
        assert not any(connection.has_answer() for connection in connections)
        assert upload.finish().json() == form_description(upload.part)
        for connection in connections:
            with connection:
                assert connection.response().body == b"noted"
    with patient_server.connect() as connection:
        connection.send_request("GET", "/noted")
        assert connection.response().json() == names_that_came(patient_server)


def test_upload_that_waited_too_long_is_a_503(patient_server: LiveServer) -> None:
    """And one that waits for less gets the place."""
    with HalfUpload(patient_server) as upload, patient_server.connect() as connection:
        patient_server.wait_for_spool()
        began = time.monotonic()
        check_turned_away(connection.post("/data", LARGE), "this server", 10)
        assert 2.7 < time.monotonic() - began < DEADLINE / 2
        assert upload.finish().json() == form_description(upload.part)
    check_place_again(patient_server)


def check_place_again(server: LiveServer) -> None:
    with server.connect() as connection:
        assert connection.post("/data", LARGE).json() == data_description(LARGE)


def test_client_that_leaves_the_line_takes_no_place(patient_server: LiveServer) -> None:
    """Its turn comes, and passes on."""
    with HalfUpload(patient_server) as upload:
        patient_server.wait_for_spool()
        with patient_server.connect() as gone:
            gone.send(request("POST", "/data", LARGE)[:-1])
            gone.reset()
        assert upload.finish().json() == form_description(upload.part)
        check_place_again(patient_server)


@pytest.mark.parametrize(
    ("worker", "application"), [(COOPERATIVE, "application"), (STOCK, "wrapped()")]
)
@pytest.mark.parametrize("kind", ["list", "generator", "file"])
def test_who_reads_a_response_holds_no_place(
    newest: Gunicorn, worker: str, application: str, kind: str
) -> None:
    """Nor who does not read it: its upload is there, and the others may have theirs."""
    body = content(100_000)
    with (
        LiveServer(
            newest,
            application=f"large_response_application:{application}",
            worker=worker,
            environment={"COOPERATIVE_UPLOAD_MAX_UPLOADS": "1"},
        ) as server,
        server.connect() as slow,
        server.connect() as other,
    ):
        slow.send_request("POST", f"/large?kind={kind}", body)
        wait_until(slow.has_answer, "the response to begin")
        assert other.post("/read", body).status == 200
        assert len(slow.response().body) == RESPONSE_SIZE
