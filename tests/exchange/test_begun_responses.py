"""Answers in the place of a response that is begun and not sent, and the end of each response."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import wsgi
from greenlets import hub_scheduler, hub_writer, in_greenlet
from sockets import socket_pair
from wsgi import environ

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.errors import IncompleteBody
from cooperative_upload.exchange.answer import answered
from cooperative_upload.middleware import CooperativeUploadMiddleware
from cooperative_upload.monitoring.monitor import upload_statistics

DATA = bytes(range(256)) * 1000
StartResponse = Callable[..., Any]


def broken() -> dict[str, Any]:
    """Of a request whose client stopped sending."""
    return environ(DATA, wsgi_input=io.BytesIO(DATA[:1000]))


def call_in_hub(application: Callable[..., Any], environ: dict[str, Any]) -> wsgi.Call:
    wrapped = CooperativeUploadMiddleware(application, patch_werkzeug=False)
    with hub_scheduler(), hub_writer():
        return in_greenlet(lambda: wsgi.call(wrapped, environ))


class Response:
    """An iterable that is no generator, and tells whether it was closed."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces = pieces
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self.pieces

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_a_response_that_is_never_begun_is_closed(taken: int) -> None:
    """PEP 3333: whether or not a piece of it was taken; once."""
    response = Response(iter([b"one", b"two"]))
    body = CooperativeInput(io.BytesIO(), 0)
    answers: Any = answered(
        lambda *_: response, environ(), lambda *_: None, _too_late, body, lambda: None
    )
    pieces = iter(answers)
    assert [next(pieces) for _ in range(taken)] == [b"one", b"two"][:taken]
    answers.close()
    assert response.closed == 1


def _too_late(error: BaseException) -> Any:
    raise error


def test_a_request_ends_although_the_close_of_its_response_raises() -> None:
    """It is counted, and its place comes back."""

    class Broken(Response):
        def close(self) -> None:
            raise RuntimeError("of the application")

    def application(environ: dict[str, Any], start_response: StartResponse) -> Response:
        environ["wsgi.input"].read()
        start_response("200 OK", [])
        return Broken(iter([b"one"]))

    before = upload_statistics()["uploads"]
    with pytest.raises(RuntimeError, match="of the application"):
        call_in_hub(application, environ(DATA))
    assert upload_statistics()["uploads"] == before


def begins_then_reads(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "5"), ("X-Of-The-Application", "1")])
    environ["wsgi.input"].read()
    return [b"whole"]


def begins_then_reads_later(
    environ: dict[str, Any], start_response: StartResponse
) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "5"), ("X-Of-The-Application", "1")])
    yield b""
    environ["wsgi.input"].read()
    yield b"whole"


@pytest.mark.parametrize("application", [begins_then_reads, begins_then_reads_later])
def test_a_response_that_is_begun_is_replaced(application: Callable[..., Any]) -> None:
    """As long as nothing of it was sent, the error has an answer."""
    made = call_in_hub(application, broken())
    assert [status[:3] for status in made.statuses] == ["200", "400"]
    assert "X-Of-The-Application" not in made.headers
    assert made.headers["Content-Length"] == str(len(made.body))
    assert b"received 1,000 of 256,000 bytes" in made.body


def test_a_response_that_is_sent_is_not_replaced() -> None:
    """The server ends it with the error."""

    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"begun"
        environ["wsgi.input"].read()

    with pytest.raises(IncompleteBody):
        call_in_hub(application, broken())


def test_the_server_says_what_is_too_late() -> None:
    """By raising what exc_info holds, where the application wrote before."""

    def application(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])(b"begun")
        environ["wsgi.input"].read()
        return []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        if exc_info is not None:
            raise exc_info[1]
        return lambda data: None

    wrapped = CooperativeUploadMiddleware(application, patch_werkzeug=False)
    with hub_scheduler(), hub_writer(), pytest.raises(IncompleteBody):
        in_greenlet(lambda: wrapped(broken(), start_response))


def test_out_of_reach_gunicorns_response_is_not_replaced() -> None:
    """It would have the headers of both."""
    asked = broken()
    with socket_pair() as (_, server):
        asked["gunicorn.socket"] = server
        with pytest.raises(IncompleteBody):
            call_in_hub(begins_then_reads, asked)
