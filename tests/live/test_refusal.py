"""Refusals: what is not read is not asked for, and who sends it all the same gets the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import chromium
import other_clients
import pytest
from counters import counted, statistics
from http2_client import Http2Connection
from http_client import (
    chunked,
    content,
    data_description,
    head,
    request,
)
from live_server import Certificate, Gunicorn, LiveServer, wait_until
from other_clients import Answer, Upload
from selenium import webdriver

KIB = 1024
BLOCK = 64 * KIB
DRAINED = 256 * KIB  # bytes of an unread body that cost the connection nothing
ASKING = {"Expect": "100-continue"}
CHUNKED = {"Transfer-Encoding": "chunked"}
LARGE = content(20_000_000)
END_OF_TLS = 100  # bytes: more than the record with which a client ends TLS
TRIES = 10  # what is lost now and then is lost

# What refuses, and how: status and text.
REFUSALS = [
    ("/token/upload", 401, "No upload without a token."),
    ("/members/upload", 403, "Members alone may upload."),
    ("/quota/upload", 413, "Your quota is 1000 bytes."),
]


@pytest.fixture(scope="module")
def plain_server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    with LiveServer(gunicorn, application="ending_application:application") as server:
        yield server


@pytest.fixture(scope="module")
def tls_server(gunicorn: Gunicorn, certificate: Certificate) -> Iterator[LiveServer]:
    """For HTTP/1.1 and, where it calls the application before the whole body, HTTP/2."""
    with LiveServer(
        gunicorn,
        *("--http-protocols", "h2,h1" if gunicorn.version >= (27,) else "h1"),
        application="ending_application:application",
        certificate=certificate,
    ) as server:
        yield server


@pytest.fixture(params=["plain", "TLS"])
def server(
    request: pytest.FixtureRequest, plain_server: LiveServer, tls_server: LiveServer
) -> LiveServer:
    return plain_server if request.param == "plain" else tls_server


# 100 Continue


@pytest.mark.parametrize(("path", "status", "text"), REFUSALS)
def test_refused_upload_is_not_sent(
    server: LiveServer, certificate: Certificate, path: str, status: int, text: str
) -> None:
    """A client that asks first gets the final status, and not one byte of the body moves."""
    before = statistics(server)["bytes"]
    with counted(server, unread=1):
        answer = other_clients.curl_that_asks(Upload(server, certificate, path, LARGE))
    assert (answer.status, answer.sent) == (status, 0)
    assert text in answer.text
    assert statistics(server)["bytes"] - before <= END_OF_TLS


def wait_until_view_waits(server: LiveServer, name: str) -> None:
    def waits() -> bool:
        with server.connect() as connection:
            connection.send_request("GET", f"/waiting?name={name}")
            return bool(connection.response().json()[0])

    wait_until(waits, "the view to be called")


def tell(server: LiveServer, name: str) -> None:
    with server.connect() as connection:
        assert connection.post(f"/go-on?name={name}", b"").status == 200


@pytest.mark.parametrize("framing", ["Content-Length", "chunked"])
def test_continue_is_said_at_the_first_read(server: LiveServer, framing: str) -> None:
    """Not before, and once."""
    body, name = content(300_000), f"first-read-{framing}"
    fields = CHUNKED if framing == "chunked" else {"Content-Length": str(len(body))}
    with server.connect() as connection:
        connection.ping()  # takes what TLS sends by itself behind its handshake
        connection.send(head("POST", f"/when-told?name={name}", {**ASKING, **fields}))
        wait_until_view_waits(server, name)
        assert not connection.has_answer()
        tell(server, name)
        assert connection.response().status == 100
        connection.send(chunked([body]) if framing == "chunked" else body)
        response = connection.response()
        assert response.json() == data_description(body)
        assert response.headers["connection"] == "keep-alive"
        connection.ping()


def test_rest_of_a_body_that_was_asked_for(server: LiveServer) -> None:
    """Comes behind 100 Continue for sure, so that it is thrown away like any other."""
    body = content(100_000)
    with server.connect() as connection:
        fields = {**ASKING, "Content-Length": str(len(body))}
        connection.send(head("POST", "/some?bytes=1000", fields))
        assert connection.response().status == 100
        connection.send(body)
        response = connection.response()
        assert (response.body, response.headers["connection"]) == (b"1000", "keep-alive")
        connection.ping()


def test_no_continue_behind_the_start_of_a_response(server: LiveServer) -> None:
    """An interim response in the middle of the final one would be taken for its content."""
    body = content(100_000)
    with server.connect() as connection:
        connection.ping()
        fields = {**ASKING, "Content-Length": str(len(body))}
        connection.send(head("POST", "/plain/begun", fields))
        wait_until(connection.has_answer, "the start of the response")
        connection.send(body)
        response = connection.response()
        assert response.status == 200
        assert response.headers["connection"] == "close"
        assert response.body.startswith(b"begun\n{")
        assert b"100 Continue" not in response.body
        assert connection.is_closed()


def test_no_continue_for_http_1_0(server: LiveServer) -> None:
    """RFC 9110 section 10.1.1: a client of HTTP/1.0 does not know it."""
    body = content(100_000)
    with server.connect() as connection:
        fields = {**ASKING, "Content-Length": str(len(body))}
        connection.send(head("POST", "/data", fields, version="1.0") + body)
        assert connection.response().json() == data_description(body)


def test_client_that_asks_and_does_not_wait(server: LiveServer) -> None:
    """What comes with the headers says that nothing is waited for."""
    body = content(100_000)
    with server.connect() as connection:
        connection.send(request("POST", "/data", body, ASKING))
        assert connection.response().json() == data_description(body)
        connection.ping()


def test_refused_client_that_asks_may_send_all_the_same(server: LiveServer) -> None:
    """Its answer says close, for nobody knows what comes behind it."""
    body = content(100_000)
    with server.connect() as connection:
        fields = {**ASKING, "Content-Length": str(len(body))}
        connection.send(head("POST", "/token/upload", fields))
        response = connection.response()
        assert (response.status, response.headers["connection"]) == (401, "close")
        connection.send(body + request("GET", "/ping"))
        assert connection.is_closed()


@pytest.fixture
def http2_server(tls_server: LiveServer) -> LiveServer:
    if tls_server.gunicorn.version < (27,):
        pytest.skip("this gunicorn collects the whole body of a stream first")
    return tls_server


def test_http2_refusal(http2_server: LiveServer, certificate: Certificate) -> None:
    """The client gets status and text, not an error of the stream."""
    upload = Upload(http2_server, certificate, "/token/upload", LARGE)
    for _ in range(TRIES):
        answer = other_clients.curl(upload, "--http2", "--data-binary", "@-")
        assert (answer.status, answer.version) == (401, "2")
        assert "No upload without a token." in answer.text


def test_http2_refusal_leaves_the_connection(http2_server: LiveServer) -> None:
    """The next stream is served, whatever was still sent to the refused one."""
    with http2_server.connect(protocols=("h2",)) as connection:
        http2 = Http2Connection(connection)
        refused = http2.begin("POST", "/token/upload", {"Content-Length": "1000000"})
        http2.send(refused, content(30_000))
        response = http2.response(refused)
        assert response.status == 401
        assert b"No upload without a token." in response.body
        assert http2.response(http2.begin("GET", "/ping", end=True)).body == b"pong"


@pytest.mark.parametrize("framing", ["Content-Length", "nothing"])
def test_http2_continue_is_said_at_the_first_read(http2_server: LiveServer, framing: str) -> None:
    """Or never, where the request is refused."""
    body, name = content(300_000), f"http2-{framing}"
    fields = {"Content-Length": str(len(body))} if framing == "Content-Length" else {}
    with http2_server.connect(protocols=("h2",)) as connection:
        http2 = Http2Connection(connection)
        stream = http2.begin("POST", f"/when-told?name={name}", {**ASKING, **fields})
        wait_until_view_waits(http2_server, name)
        assert http2.interim(stream) == []
        tell(http2_server, name)
        http2.wait_for_interim(stream)
        http2.send(stream, body, end=True)
        assert http2.response(stream).json() == data_description(body)
        assert http2.interim(stream) == ["100"]
        refused = http2.begin("POST", "/token/upload", {**ASKING, **fields})
        assert http2.response(refused).status == 401
        assert http2.interim(refused) == []


# The answer arrives


@pytest.mark.parametrize("client", other_clients.ALL, ids=lambda client: client.__name__)
def test_every_client_gets_the_refusal(
    server: LiveServer, certificate: Certificate, client: Callable[[Upload], Answer]
) -> None:
    """Status and text, although nobody reads what it sends; each time."""
    upload = Upload(server, certificate, "/token/upload", LARGE)
    for _ in range(TRIES):
        answer = client(upload)
        assert answer.status == 401
        assert "No upload without a token." in answer.text


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/refuse?status=422&after=100000", 422, "Refused, for a reason."),
        ("/raise-at-once", 500, "Internal Server Error"),
        ("/plain?method=none", 500, "Internal Server Error"),  # raised to gunicorn itself
    ],
)
@pytest.mark.parametrize(
    "client",
    [other_clients.standard_library, other_clients.standard_library_in_chunks],
    ids=lambda client: client.__name__,
)
def test_answer_in_the_middle_of_a_body(
    server: LiveServer,
    certificate: Certificate,
    client: Callable[[Upload], Answer],
    path: str,
    status: int,
    text: str,
) -> None:
    """Whoever gives it, behind a part of the body or at once, and for whatever reason."""
    upload = Upload(server, certificate, path, LARGE)
    for _ in range(3):
        answer = client(upload)
        assert answer.status == status
        assert text in answer.text


def test_answer_to_a_fault_waits_for_no_body(server: LiveServer) -> None:
    """Also if little of it is to come; a client that waits for the answer would wait with it."""
    with server.connect() as connection:
        connection.send(head("POST", "/plain?method=none", {"Content-Length": "1000"}))
        assert connection.response().status == 500


@pytest.mark.parametrize(
    ("bad", "status", "text"),
    [
        ("Bad Name: x", 400, "Bad Name"),
        (f"Large: {'x' * 10_000}", 431, "Error parsing headers"),
    ],
)
def test_body_behind_bad_headers(server: LiveServer, bad: str, status: int, text: str) -> None:
    """gunicorn's own answer, while the client sends what it announced."""
    start = f"POST /data HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(LARGE)}\r\n{bad}"
    for _ in range(3):
        with server.connect() as connection:
            connection.send(f"{start}\r\n\r\n".encode() + LARGE)
            response = connection.response()
            assert response.status == status
            assert text in response.body.decode()
            assert connection.is_closed()


# What is left unread


@pytest.mark.parametrize("size", [1, 8192, BLOCK + 1, DRAINED])
def test_small_rest_is_thrown_away(server: LiveServer, size: int) -> None:
    """The connection goes on, and the response says so."""
    with counted(server, drained=2, unread=0, lingered=0), server.connect() as connection:
        for _ in range(2):
            response = connection.post("/unread", content(size))
            assert response.body == b"unread"
            assert response.headers["connection"] == "keep-alive"
        connection.ping()


@pytest.mark.parametrize("size", [1, 4000])
def test_small_rest_of_a_last_request(server: LiveServer, size: int) -> None:
    """What has come with the headers keeps no connection that is to close."""
    with counted(server, drained=1, unread=0, lingered=0), server.connect() as connection:
        connection.send_request("POST", "/unread", content(size), {"Connection": "close"})
        assert connection.response().headers["connection"] == "close"
        assert connection.is_closed()


def test_pipelined_request_behind_a_rest(server: LiveServer) -> None:
    """It is not thrown away with it."""
    body = content(DRAINED)
    with server.connect() as connection:
        connection.send(request("POST", "/unread", body) + request("GET", "/ping"))
        assert connection.response().body == b"unread"
        assert connection.response().body == b"pong"
        connection.ping()


@pytest.mark.parametrize("size", [DRAINED + 1, 5_000_000])
def test_large_rest_closes_the_connection(server: LiveServer, size: int) -> None:
    """And the response says that too."""
    with counted(server, unread=1, drained=0, lingered=1), server.connect() as connection:
        response = connection.post("/unread", content(size))
        assert response.body == b"unread"
        assert response.headers["connection"] == "close"
        assert connection.is_closed()


def test_the_rest_counts_and_not_the_body(server: LiveServer) -> None:
    """An application that has read all but a little keeps its connection."""
    size = 1_000_000
    for read, kept in ((size - DRAINED, True), (size - DRAINED - BLOCK - 1, False)):
        with server.connect() as connection:
            response = connection.post(f"/some?bytes={read}", content(size))
            assert response.body == str(read).encode()
            assert response.headers["connection"] == ("keep-alive" if kept else "close")
            assert kept or connection.is_closed()


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_chunks_that_are_left_close_the_connection(server: LiveServer, size: int) -> None:
    """Nobody knows how many are left."""
    with counted(server, unread=1, lingered=1), server.connect() as connection:
        body = chunked([content(size)])
        connection.send(head("POST", "/unread", CHUNKED) + body + request("GET", "/ping"))
        response = connection.response()
        assert response.body == b"unread"
        assert response.headers["connection"] == "close"
        assert connection.is_closed()


# In a browser

# A page's own upload of so many bytes, by both ways that a page has. The last argument is what
# ends the script.
FETCH = """
const [path, size, done] = arguments;
fetch(path, {method: "POST", body: new Blob([new Uint8Array(size)])})
    .then(async (response) => done([response.status, await response.text()]))
    .catch((error) => done([0, String(error)]));
"""
XHR = """
const [path, size, done] = arguments;
const request = new XMLHttpRequest();
request.onload = () => done([request.status, request.responseText]);
request.onerror = () => done([0, "error"]);
request.open("POST", path);
request.send(new Blob([new Uint8Array(size)]));
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    if not chromium.IS_INSTALLED:
        pytest.skip(chromium.NEEDED)
    with chromium.headless_chromium("--ignore-certificate-errors") as driver:
        yield driver


@pytest.mark.parametrize("script", [FETCH, XHR], ids=["fetch", "XMLHttpRequest"])
def test_page_sees_the_refusal(browser: webdriver.Chrome, server: LiveServer, script: str) -> None:
    """Over TLS this is HTTP/2, with the newest gunicorn."""
    browser.get(server.url + "/ping")
    for path, status, text in REFUSALS:
        found = browser.execute_async_script(script, path, 100_000_000)
        assert found[0] == status
        assert text in found[1]
