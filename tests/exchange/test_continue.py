"""When "100 Continue" is said: over real sockets, with gunicorn's own response."""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from exchanges import (
    CONTINUE,
    Application,
    answer,
    case,
    connection_header,
    not_reading,
    raising,
    reading,
    status,
)
from greenlets import in_greenlet, join

from cooperative_upload.errors import IncompleteBody

pytestmark = pytest.mark.usefixtures("own_scheduler_and_writer")


def test_continue_goes_out_at_the_first_read() -> None:
    """Once, before the response, and not before the application reads."""

    def test() -> None:
        with case(10) as each:
            each.exchange.expect_continue()
            seen = []

            def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
                seen.append(each.sent())
                for _ in range(2):  # the body comes behind the permission to send it
                    reader = gevent.spawn(environ["wsgi.input"].read, 5)
                    gevent.sleep(0.002)
                    seen.append(each.sent())
                    each.client.sendall(b"12345")
                    join(reader)
                return answer(start_response)

            each.serve(application)
            assert seen == [b"", CONTINUE, b""]
            assert status(each.sent()) == 200

    in_greenlet(test)


def test_no_continue_for_a_client_that_waits_for_nothing() -> None:
    """It sends the body at once."""

    def test() -> None:
        with case(10) as each:
            each.client.sendall(b"1234567890")
            each.serve(reading)
            assert each.sent().startswith(b"HTTP/1.1 200 ")

    in_greenlet(test)


@pytest.mark.parametrize(
    ("application", "expected"),
    [(not_reading, 200), (raising(IncompleteBody(0, 10)), 400)],
    ids=["answered", "refused"],
)
def test_no_continue_without_a_read(application: Application, expected: int) -> None:
    """The final status alone, and the end of the connection: the body may follow or not."""

    def test() -> None:
        with case(10) as each:
            each.exchange.expect_continue()
            each.serve(application)
            sent = each.sent()
            assert status(sent) == expected
            assert connection_header(sent) == "close"

    in_greenlet(test)


def test_no_continue_behind_the_headers_of_the_response() -> None:
    """RFC 9110 section 10.1.1: the application answers first and reads then."""

    def test() -> None:
        with case(10) as each:
            each.exchange.expect_continue()

            def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
                write = start_response("200 OK", [("Content-Length", "4")])
                write(b"ab")
                each.client.sendall(b"1234567890")
                assert len(environ["wsgi.input"].read()) == 10
                return [b"cd"]

            each.serve(application)
            sent = each.sent()
            assert b"100 Continue" not in sent
            assert connection_header(sent) == "close"
            assert sent.endswith(b"\r\n\r\nabcd")

    in_greenlet(test)


def test_continue_behind_a_start_that_is_not_sent() -> None:
    """start_response() alone sends nothing: the client has no answer yet."""

    def test() -> None:
        with case(10) as each:
            each.exchange.expect_continue()
            each.client.sendall(b"1234567890")

            def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
                start_response("200 OK", [("Content-Length", "2")])
                return [b"%d" % len(environ["wsgi.input"].read())]

            each.serve(application)
            sent = each.sent()
            assert sent.startswith(CONTINUE + b"HTTP/1.1 200 ")
            assert connection_header(sent) == "keep-alive"

    in_greenlet(test)


def test_no_continue_for_a_body_that_is_too_large() -> None:
    """It is refused before a byte of it, also where the application reads nevertheless."""

    def test() -> None:
        with case(11, most_bytes=10) as each:
            each.exchange.expect_continue()
            each.serve(reading)
            sent = each.sent()
            assert (status(sent), connection_header(sent)) == (413, "close")

    in_greenlet(test)
