"""Interim responses and trailers for applications that ask for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from exchanges import Case, answer, case, not_reading
from greenlets import in_greenlet

from cooperative_upload.exchange.admission import Admission
from cooperative_upload.exchange.beyond_wsgi import (
    SEND_INTERIM,
    TRAILERS,
    interim_response,
    trailers_of,
)
from cooperative_upload.exchange.gunicorn_exchange import Exchange, answering_for
from cooperative_upload.monitoring.monitor import Upload
from cooperative_upload.settings import UploadSettings

pytestmark = pytest.mark.usefixtures("own_scheduler_and_writer")

HINT = b"HTTP/1.1 104 Upload Resumption Supported\r\nLocation: a\r\n\r\n"


def send_hint(environ: dict[str, Any]) -> None:
    environ[SEND_INTERIM](104, "Upload Resumption Supported", [("Location", "a")])


def with_interim(each: Case) -> None:
    """The exchange of a server that can send interim responses."""
    settings = UploadSettings()
    each.exchange = Exchange(
        each.body,
        Upload("POST", "/", "127.0.0.1", 10),
        each.request,
        settings,
        Admission(settings),
        trailers=lambda: {"checksum": "x"},
        send_interim=lambda *parts: each.server.sendall(interim_response(*parts)),
    )


def test_an_interim_response_goes_out_at_once() -> None:
    """Before the body is there, and before the final response."""

    def test() -> None:
        with case(10) as each:
            with_interim(each)
            seen = []

            def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
                send_hint(environ)
                seen.append(each.sent())
                return answer(start_response)

            each.serve(application)
            assert seen == [HINT]
            assert each.sent().startswith(b"HTTP/1.1 200 ")

    in_greenlet(test)


def test_none_behind_the_headers_of_the_response() -> None:
    """It would be in the middle of the response's content."""

    def test() -> None:
        with case(10) as each:
            with_interim(each)

            def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
                start_response("200 OK", [("Content-Length", "2")])(b"o")
                send_hint(environ)
                return [b"k"]

            each.serve(application)
            assert each.sent().endswith(b"\r\n\r\nok")

    in_greenlet(test)


def test_a_server_without_interim_responses() -> None:
    def test() -> None:
        with case(10) as each:
            each.serve(not_reading)
            assert SEND_INTERIM not in each.environ
            assert each.environ[TRAILERS]() == {}

    in_greenlet(test)


def test_trailers() -> None:
    def test() -> None:
        with case(10) as each:
            with_interim(each)
            each.serve(not_reading)
            assert each.environ[TRAILERS]() == {"checksum": "x"}

    in_greenlet(test)


def test_requests_without_a_body_say_that_the_server_gives_trailers() -> None:
    environ: dict[str, Any] = {}
    answering_for(lambda environ, start_response: [])(environ, lambda *_: None)
    assert environ[TRAILERS]() == {}


@pytest.mark.parametrize("headers", [[("Location", "a\r\nb")], [("a\nb", "c")]])
def test_a_header_is_one_line(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match="line"):
        interim_response(104, "Upload Resumption Supported", headers)


def test_trailers_in_either_protocol() -> None:
    assert trailers_of([("UPLOAD-CHECKSUM", "x")]) == {"upload-checksum": "x"}
    assert trailers_of([(b"upload-checksum", b"x")]) == {"upload-checksum": "x"}
    assert trailers_of(None) == {}
