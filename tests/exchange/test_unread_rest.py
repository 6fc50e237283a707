"""What becomes of a body that is not read to its end: drained, or the connection ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from exchanges import DRAIN, case, connection_header, not_reading, reading
from greenlets import in_greenlet

from cooperative_upload.errors import IncompleteBody
from cooperative_upload.settings import UploadSettings

pytestmark = pytest.mark.usefixtures("own_scheduler_and_writer")


# Whether the connection lives on.


@pytest.mark.parametrize("read_first", [0, 1, 24])
@pytest.mark.parametrize("awaits", [False, True])
@pytest.mark.parametrize("left", [0, 1, DRAIN, DRAIN + 1])
def test_a_known_rest(left: int, awaits: bool, read_first: int) -> None:
    """Up to drain_bytes may be left, of a client that was told to send."""

    def test() -> None:
        length = left + read_first
        with case(length, UploadSettings(drain_bytes=DRAIN)) as each:
            if awaits:
                each.exchange.expect_continue()
            each.client.sendall(bytes(read_first))
            each.body.read(read_first) if read_first else None
            too_much = left > DRAIN or (awaits and not read_first and left > 0)
            assert each.exchange.leaves_too_much == too_much
            assert each.request.should_close() == too_much

    in_greenlet(test)


def test_an_unknown_rest() -> None:
    """A chunked body is left behind at its end alone."""
    with case(None, decoder=iter([b"12345"])) as each:
        assert each.exchange.leaves_too_much
        assert each.body.read(5) == b"12345"
        assert each.exchange.leaves_too_much
        assert each.body.read() == b""
        assert not each.exchange.leaves_too_much


def test_a_broken_body_ends_the_connection() -> None:
    """Nobody knows where the next request would begin."""

    def test() -> None:
        with case(10) as each:
            each.client.sendall(b"12345")
            each.client.shutdown(gevent.socket.SHUT_WR)
            with pytest.raises(IncompleteBody):
                each.body.read()
            assert each.exchange.leaves_too_much
            assert each.request.should_close()

    in_greenlet(test)


def test_gunicorn_may_want_to_close_all_the_same() -> None:
    """For HTTP/1.0, or for a client that said so."""

    def test() -> None:
        with case(10, closes=True) as each:
            each.client.sendall(bytes(10))
            each.serve(reading)
            assert not each.exchange.leaves_too_much
            assert connection_header(each.sent()) == "close"

    in_greenlet(test)


def test_what_the_header_said_stays() -> None:
    """The application reads the rest behind the headers that say that the connection ends."""

    def test() -> None:
        with case(10_000, UploadSettings(drain_bytes=DRAIN)) as each:

            def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
                start_response("200 OK", [("Content-Length", "5")])
                yield b"be"
                each.client.sendall(bytes(10_000))
                assert len(environ["wsgi.input"].read()) == 10_000
                yield b"gun"

            each.serve(application)
            assert connection_header(each.sent()) == "close"
            assert not each.exchange.leaves_too_much
            assert each.request.should_close()
            assert each.reported()[0]["complete"] == 1

    in_greenlet(test)


# Draining.


def test_a_small_rest_is_drained() -> None:
    """Behind it the next request begins; no byte of that is taken."""

    def test() -> None:
        with case(DRAIN, UploadSettings(drain_bytes=DRAIN)) as each:
            each.serve(not_reading)
            assert connection_header(each.sent()) == "keep-alive"
            each.client.sendall(bytes(DRAIN) + b"GET / HTTP/1.1\r\n\r\n")
            each.exchange.drain()
            assert not each.request.should_close()
            assert each.server.recv(1000) == b"GET / HTTP/1.1\r\n\r\n"
            assert each.reported() == ({"drained": 1, "bytes": DRAIN}, [])

    in_greenlet(test)


def test_what_was_read_is_not_drained() -> None:
    """A body that the application read is complete, and nothing waits for more."""

    def test() -> None:
        with case(10) as each:
            each.client.sendall(bytes(10))
            each.serve(reading)
            each.exchange.drain()
            assert each.reported() == ({"complete": 1, "bytes": 10}, [])

    in_greenlet(test)


@pytest.mark.parametrize("length", [DRAIN + 1, None])
def test_a_large_or_unknown_rest_is_not_drained(length: int | None) -> None:
    """It is left unread, at once."""

    def test() -> None:
        with case(length, UploadSettings(drain_bytes=DRAIN)) as each:
            each.serve(not_reading)
            each.exchange.drain()
            counted, lines = each.reported()
            assert counted == {"unread": 1}
            (level, text) = lines[0]
            assert level == "info"
            assert text.endswith(" s. The application answered without reading the rest.")

    in_greenlet(test)


def test_a_client_that_does_not_send_what_is_drained() -> None:
    """It gets a while, and then its connection ends."""

    def test() -> None:
        settings = UploadSettings(drain_bytes=DRAIN, lingering_seconds=0.01)
        with case(DRAIN, settings) as each:
            each.serve(not_reading)
            each.client.sendall(b"1234567")
            each.exchange.drain()
            assert each.request.should_close()
            assert each.reported()[0] == {"incomplete": 1, "bytes": 7}

    in_greenlet(test)


def test_a_client_that_leaves_while_it_is_drained() -> None:
    """No error comes out of that."""

    def test() -> None:
        with case(DRAIN, UploadSettings(drain_bytes=DRAIN)) as each:
            each.serve(not_reading)
            each.client.close()
            each.exchange.drain()
            assert each.request.should_close()
            assert each.reported()[0] == {"incomplete": 1}

    in_greenlet(test)
