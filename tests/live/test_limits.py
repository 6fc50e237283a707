"""Limits on the size of bodies and on the number of uploads at once."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import other_clients
import pytest
from counters import counted
from http2_client import Http2Connection
from http_client import (
    DEADLINE,
    FORM_TYPE,
    Connection,
    Part,
    Response,
    chunk,
    chunked,
    content,
    data_description,
    form,
    form_description,
    head,
    pieces_of,
    request,
)
from large_response_application import SIZE as RESPONSE_SIZE
from live_server import COOPERATIVE, STOCK, Certificate, Gunicorn, LiveServer, wait_until
from other_clients import Upload
from uploads import HalfUpload

APPLICATION = "ending_application:application"
CHUNKED = {"Transfer-Encoding": "chunked"}

# Sizes

MOST = 1_000_000
MOST_URLENCODED = 100_000
MOST_JSON = 50_000
SIZES = {
    "COOPERATIVE_UPLOAD_MAX_BODY_BYTES": str(MOST),
    "COOPERATIVE_UPLOAD_MAX_URLENCODED_BYTES": str(MOST_URLENCODED),
    "COOPERATIVE_UPLOAD_MAX_JSON_BYTES": str(MOST_JSON),
}
LIMITS = [
    ("application/octet-stream", MOST),
    (FORM_TYPE, MOST),
    ("application/x-www-form-urlencoded", MOST),
    ("application/json", MOST),
]
URLENCODED = "application/x-www-form-urlencoded"


class ParsedInOneGo(NamedTuple):
    """A view that has werkzeug parse the body, and the largest that it may."""

    path: str
    content_type: str
    limit: int
    body: bytes

    @property
    def body_over_the_limit(self) -> bytes:
        return self.body[:3] + b"1" + self.body[3:]


FORM_AT_THE_LIMIT = b"a=1&b=" + b"2" * (MOST_URLENCODED - 6)
JSON_AT_THE_LIMIT = b'["' + b"x" * (MOST_JSON - 4) + b'"]'
PARSED = [
    ParsedInOneGo("/fields", URLENCODED, MOST_URLENCODED, FORM_AT_THE_LIMIT),
    ParsedInOneGo(
        "/limited/fields",
        "Application/X-WWW-Form-URLencoded; charset=utf-8",
        MOST_URLENCODED,
        FORM_AT_THE_LIMIT,
    ),
    ParsedInOneGo("/json", "application/json", MOST_JSON, JSON_AT_THE_LIMIT),
    ParsedInOneGo("/limited/json", "application/problem+json", MOST_JSON, JSON_AT_THE_LIMIT),
]
parsed_in_one_go = pytest.mark.parametrize("parsed", PARSED, ids=lambda parsed: parsed.path)


@pytest.fixture(scope="module")
def size_server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    with LiveServer(gunicorn, application=APPLICATION, environment=SIZES) as server:
        yield server
        assert "Traceback" not in server.log()


def number_caught(server: LiveServer) -> int:
    """How many times the view of POST /catch has seen an error."""
    return len(caught(server))


def caught(server: LiveServer) -> Any:
    with server.connect() as connection:
        connection.send_request("GET", "/caught")
        return connection.response().json()


def check_too_large(response: Response, size: str, limit: int) -> None:
    text = response.body.decode()
    assert response.status == 413, text
    assert f"got {size} bytes, accepted are at most {limit:,}." in text
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize(("content_type", "limit"), LIMITS)
def test_content_length_over_the_limit(
    size_server: LiveServer, content_type: str, limit: int
) -> None:
    """The application is not called, and the client is not asked for a byte."""
    before = number_caught(size_server)
    for size, expect in ((limit + 1, {}), (1 << 40, {"Expect": "100-continue"})):
        headers = {"Content-Length": str(size), "Content-Type": content_type, **expect}
        with counted(size_server, too_large=1, bytes=0), size_server.connect() as connection:
            connection.send(head("POST", "/catch", headers))
            check_too_large(connection.response(), f"{size:,}", limit)
            assert connection.is_closed()
    assert number_caught(size_server) == before
    assert f"Upload too large: POST /catch from 127.0.0.1, 0 of {1 << 40:,}" in size_server.log()


@pytest.mark.parametrize(("content_type", "limit"), LIMITS)
def test_chunks_over_the_limit(size_server: LiveServer, content_type: str, limit: int) -> None:
    """Are counted, and the application sees the error at the read that passes the limit."""
    before = number_caught(size_server)
    headers = {**CHUNKED, "Content-Type": content_type}
    body = chunked(pieces_of(content(limit + 1), 30_000))
    with counted(size_server, too_large=1), size_server.connect() as connection:
        connection.send(head("POST", "/catch", headers) + body)
        check_too_large(connection.response(), f"more than {limit:,}", limit)
        assert connection.is_closed()
    assert number_caught(size_server) == before + 1
    error = {"class": "BodyTooLarge", "limit": limit, "expected": None}
    assert error.items() <= caught(size_server)[-1].items()


@pytest.mark.parametrize(("content_type", "limit"), LIMITS)
def test_body_as_large_as_the_limit(
    size_server: LiveServer, content_type: str, limit: int
) -> None:
    """Is accepted in both framings."""
    body = content(limit)
    headers = {"Content-Type": content_type}
    with counted(size_server, complete=2), size_server.connect() as connection:
        response = connection.post("/stream", body, headers)
        assert response.json() == data_description(body)
        chunks = chunked(pieces_of(body, 30_000))
        response = connection.post("/stream", chunks, {**headers, **CHUNKED})
        assert response.json() == data_description(body)


@parsed_in_one_go
def test_parsing_over_the_limit(size_server: LiveServer, parsed: ParsedInOneGo) -> None:
    """The client is not asked for a byte, and werkzeug's parser not for its opinion."""
    for size, expect in ((parsed.limit + 1, {}), (MOST, {"Expect": "100-continue"})):
        headers = {"Content-Length": str(size), "Content-Type": parsed.content_type, **expect}
        with counted(size_server, too_large=1, bytes=0), size_server.connect() as connection:
            connection.send(head("POST", parsed.path, headers))
            check_too_large(connection.response(), f"{size:,}", parsed.limit)
            assert connection.is_closed()
    assert f"Upload too large: POST {parsed.path} from 127.0.0.1, 0 of" in size_server.log()


@parsed_in_one_go
def test_parsing_chunks_over_the_limit(size_server: LiveServer, parsed: ParsedInOneGo) -> None:
    """They are counted, and what comes behind the limit is thrown away."""
    headers = {**CHUNKED, "Content-Type": parsed.content_type}
    body = chunked(pieces_of(parsed.body_over_the_limit + content(600_000), 30_000))
    with counted(size_server, too_large=1), size_server.connect() as connection:
        connection.send(head("POST", parsed.path, headers) + body)
        check_too_large(connection.response(), f"more than {parsed.limit:,}", parsed.limit)
        assert connection.is_closed()


@parsed_in_one_go
def test_parsing_at_the_limit(size_server: LiveServer, parsed: ParsedInOneGo) -> None:
    """Both framings are parsed."""
    headers = {"Content-Type": parsed.content_type}
    with counted(size_server, complete=2), size_server.connect() as connection:
        answer = connection.post(parsed.path, parsed.body, headers)
        assert answer.status == 200
        chunks = chunked(pieces_of(parsed.body, 30_000))
        again = connection.post(parsed.path, chunks, {**headers, **CHUNKED})
        assert again.json() == answer.json()


RAW_CLIENTS = {
    "curl": ["curl", "-sS", "-X", "POST", "--data-binary", "@{file}"],
    "wget": ["wget", "-q", "-O", "-", "--post-file={file}"],
    "urllib": [
        sys.executable,
        "-c",
        "import sys, urllib.request as r; data = open('{file}', 'rb').read();"
        "sys.stdout.write(r.urlopen(r.Request(sys.argv[1], data)).read().decode())",
    ],
}


@pytest.mark.parametrize("path", ["/stream", "/data"])
@pytest.mark.parametrize("client", RAW_CLIENTS.values(), ids=RAW_CLIENTS)
def test_raw_body_that_is_called_a_form(
    server: LiveServer, tmp_path: Path, client: list[str], path: str
) -> None:
    """What these clients say of any body does not limit one that nobody parses."""
    if shutil.which(client[0]) is None:
        pytest.skip(f"needs {client[0]}")
    body = content(5_000_000)
    (tmp_path / "file").write_bytes(body)
    command = [word.replace("{file}", str(tmp_path / "file")) for word in client]
    command.append(f"http://127.0.0.1:{server.port}{path}")
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout) == data_description(body)


@pytest.mark.parametrize("types", [[URLENCODED, "text/plain"], ["text/plain", URLENCODED]])
def test_two_content_types(size_server: LiveServer, types: list[str]) -> None:
    """gunicorn 27 refuses them. Where it does not, the limit goes by the one that is parsed."""
    body = b"a=1&" * (MOST_URLENCODED // 4 + 1)
    fields = [("Host", "localhost"), ("Content-Length", str(len(body)))]
    fields += [("Content-Type", each) for each in types]
    lines = ["POST /fields HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
    with size_server.connect() as connection:
        connection.send("\r\n".join(lines).encode() + body)
        response = connection.response()
    if size_server.gunicorn.version >= (25, 1) and response.status == 400:
        return
    if types[-1] == URLENCODED:
        check_too_large(response, f"{len(body):,}", MOST_URLENCODED)
    else:
        assert response.json() == {"fields": 0}


def test_form_in_chunks_over_the_limit(size_server: LiveServer) -> None:
    """werkzeug's parser lets the error through, and the spool is freed."""
    body = form(Part("file", content(MOST), "f.bin"))
    with counted(size_server, too_large=1), size_server.connect() as connection:
        headers = {**CHUNKED, "Content-Type": FORM_TYPE}
        connection.send(head("POST", "/form", headers) + chunked(pieces_of(body, 30_000)))
        check_too_large(connection.response(), f"more than {MOST:,}", MOST)
    (worker,) = size_server.workers()
    wait_until(lambda: not size_server.spooled_descriptors(worker), "the spool is closed")


@pytest.mark.parametrize(
    "client",
    [
        other_clients.curl_that_does_not_ask,
        other_clients.curl_in_chunks,
        other_clients.standard_library,
        other_clients.standard_library_in_chunks,
    ],
    ids=lambda client: client.__name__,
)
def test_client_that_sends_all_the_same_gets_the_sentence(
    size_server: LiveServer, certificate: Certificate, client: Any
) -> None:
    """Whatever comes behind the limit is thrown away."""
    upload = Upload(size_server, certificate, "/data", content(20_000_000))
    for _ in range(3):
        answer = client(upload)
        assert answer.status == 413
        assert f"accepted are at most {MOST:,}." in answer.text


def test_errorhandler_of_flask(size_server: LiveServer) -> None:
    """A body that is too large by counting is the application's to answer, as any 413."""
    with size_server.connect() as connection:
        connection.send(head("POST", "/handled/data", CHUNKED) + chunk(content(MOST + 1)))
        response = connection.response()
        assert response.status == 413
        assert response.headers["content-type"] == "application/json"
        assert b'"class":"BodyTooLarge"' in response.body
        assert connection.is_closed()


def test_urlencoded_form_is_limited_by_default(server: LiveServer) -> None:
    """To 2 MiB; other bodies are not limited."""
    size = 2 * 1024 * 1024 + 1
    headers = {"Content-Type": URLENCODED, "Content-Length": str(size)}
    with server.connect() as connection:
        connection.send(head("POST", "/form", headers))
        check_too_large(connection.response(), f"{size:,}", size - 1)
    body = content(size)
    with server.connect() as connection:
        response = connection.post("/data", body, {"Content-Type": "application/json"})
        assert response.json() == data_description(body)


def test_http2_body_over_the_limit(newest: Gunicorn, certificate: Certificate) -> None:
    """The same answers, and the connection goes on."""
    with (
        LiveServer(
            newest,
            *("--http-protocols", "h2,h1"),
            application=APPLICATION,
            certificate=certificate,
            environment=SIZES,
        ) as server,
        counted(server, too_large=2, complete=1),
        server.connect(protocols=("h2",)) as connection,
    ):
        http2 = Http2Connection(connection)
        announced = http2.begin("POST", "/data", {"Content-Length": str(MOST + 1)})
        assert http2.response(announced).status == 413
        counted_bytes = http2.begin("POST", "/data")
        http2.send(counted_bytes, content(MOST + 1), end=True)
        response = http2.response(counted_bytes)
        assert response.status == 413
        assert f"more than {MOST:,} bytes" in response.body.decode()
        assert http2.post("/data", content(MOST)).json() == data_description(content(MOST))


# Numbers

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
