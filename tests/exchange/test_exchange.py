"""Exchange: what a request with a body is answered, what is left of it, and how it is told.

Over real sockets, with gunicorn's own response; the rest of gunicorn is in the live tests.
"""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gevent
import pytest
from counters import Counted
from greenlets import FOREVER, hub_scheduler, hub_writer, in_greenlet, join, wait_until
from gunicorn.config import Config
from gunicorn.http.wsgi import FileWrapper, Response
from sockets import socket_pair

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.body.sources import PieceSource, SocketSource
from cooperative_upload.errors import (
    BodyError,
    BodyTooLarge,
    IncompleteBody,
    MalformedBody,
    RequestError,
    StorageError,
    TooManyUploads,
)
from cooperative_upload.exchange.admission import Admission
from cooperative_upload.exchange.gunicorn_exchange import Exchange, answering_for
from cooperative_upload.monitoring.board import ENDINGS
from cooperative_upload.monitoring.monitor import Upload
from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool.temporary_file import Spool

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLIENT = ("127.0.0.7", 50_000)
KILOBYTE = bytes(1024)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@pytest.fixture(autouse=True)
def own_scheduler_and_writer() -> Iterator[None]:
    """New ones for each test."""
    with hub_scheduler(), hub_writer():
        yield


class Request:
    """What an exchange and gunicorn's response use of gunicorn's request."""

    method = "POST"
    version = (1, 1)

    def __init__(self, closes: bool = False) -> None:
        self._closes = closes

    def should_close(self) -> bool:
        return self._closes


class Log:
    """Of the methods of gunicorn's log those that are for lines; a line is (level, text)."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def info(self, text: str, *values: object) -> None:
        self.lines.append(("info", text % values))

    def error(self, text: str, *values: object) -> None:
        self.lines.append(("error", text % values))


class Case:
    """One request with a body on a connection; the client's socket is the test's.

    length: of the body; None for a chunked one, whose pieces are those of `decoder`.
    """

    def __init__(
        self,
        client: Any,
        server: Any,
        length: int | None = 10,
        settings: UploadSettings | None = None,
        decoder: Iterator[bytes] | None = None,
        admission: Admission | None = None,
        most_bytes: int | None = None,
        address: Any = CLIENT,
        path: str = "/form",
        closes: bool = False,
    ) -> None:
        settings = settings or UploadSettings()
        self.client, self.server = client, server
        self.request = Request(closes)
        self.body = CooperativeInput(
            PieceSource(decoder or iter(()))
            if length is None
            else SocketSource(server, b"", length),
            length,
            settings,
            sock=server,
            most_bytes=most_bytes,
            before_receiving=lambda: self.exchange.announce_reading(server.sendall),
        )
        admission = admission or Admission(settings)
        client = address[0] if isinstance(address, tuple) else "a Unix socket"
        upload = Upload(self.request.method, path, client, length)
        self.exchange = Exchange(self.body, upload, self.request, settings, admission)
        self.response = Response(self.request, server, Config())
        self.environ = {
            "REQUEST_METHOD": "POST",
            "REMOTE_ADDR": address[0] if isinstance(address, tuple) else "",
            "wsgi.input": self.body,
            "wsgi.file_wrapper": FileWrapper,
        }

    def serve(self, application: Application) -> None:
        """What gunicorn's worker does with a request, up to the end of its response."""
        with self.exchange.running():
            pieces = answering_for(application)(self.environ, self.response.start_response)
            try:
                for piece in pieces:
                    self.response.write(piece)
                self.response.close()
            finally:
                if hasattr(pieces, "close"):
                    pieces.close()

    def sent(self) -> bytes:
        """All that the client has got by now."""
        self.client.settimeout(0)
        data = b""
        with contextlib.suppress(BlockingIOError, TimeoutError):
            while piece := self.client.recv(65536):
                data += piece
        return data

    def reported(self) -> tuple[dict[str, int], list[tuple[str, str]]]:
        """What the report added to the counters, and its lines."""
        counted, log = Counted(), Log()
        self.exchange.report(log)
        return counted.so_far(), log.lines


@contextlib.contextmanager
def case(*args: Any, **options: Any) -> Iterator[Case]:
    with socket_pair() as (client, server):
        yield Case(client, server, *args, **options)


def answer(start_response: Callable[..., Any], text: bytes = b"ok") -> list[bytes]:
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text]


def reading(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    return answer(start_response, b"%d" % len(environ["wsgi.input"].read()))


def not_reading(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    return answer(start_response)


def raising(error: BaseException) -> Application:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        raise error

    return application


def status(sent: bytes) -> int:
    return int(sent.split(b" ", 2)[1])


def connection_header(sent: bytes) -> str:
    found = re.search(rb"^Connection: (.*?)\r\n", sent, re.MULTILINE)
    assert found is not None, sent
    return found.group(1).decode()


# "100 Continue".


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


# Whether the connection lives on.

DRAIN = 1000


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


# Answers to errors.


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (IncompleteBody(3, 10), 400),
        (MalformedBody(3, "no size"), 400),
        (BodyTooLarge(3, None), 413),
        (TooManyUploads("this server", 3, 10), 503),
        (StorageError(OSError(errno.ENOSPC, "No space")), 507),
        (gevent.GreenletExit(), 503),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
@pytest.mark.parametrize("as_generator", [False, True])
def test_errors_are_answered(error: BaseException, expected: int, as_generator: bool) -> None:
    """Those of requests, and a kill, from an application that does not care for them."""

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        raise error
        yield b""

    def test() -> None:
        with case(10, UploadSettings(drain_bytes=0)) as each:
            each.serve(application if as_generator else raising(error))
            sent = each.sent()
            assert (status(sent), connection_header(sent)) == (expected, "close")
            if isinstance(error, RequestError):
                assert error.description is not None
                assert error.description.partition("'")[0] in sent.decode()
            assert each.exchange.killed == isinstance(error, gevent.GreenletExit)
            ending = getattr(error, "ending", "killed")
            assert each.reported()[0] == {ending: 1}

    in_greenlet(test)


class ClassApplication:
    """An application as in PEP 3333's example: its iteration does the work."""

    def __init__(self, environ: dict[str, Any], start_response: Any) -> None:
        self._body, self._start = environ["wsgi.input"], start_response

    def __iter__(self) -> Iterator[bytes]:
        text = b"%d" % len(self._body.read())
        yield from answer(self._start, text)


def test_an_application_whose_iteration_does_the_work() -> None:
    """The class of PEP 3333 is answered for as a generator is."""

    def test() -> None:
        with case(10) as each:
            each.client.shutdown(gevent.socket.SHUT_WR)
            each.serve(ClassApplication)
            assert status(each.sent()) == 400

    in_greenlet(test)


@pytest.mark.parametrize("error", [IncompleteBody(3, 10), gevent.GreenletExit()])
@pytest.mark.parametrize("sent", ["headers", "a piece", "nothing"])
def test_a_response_that_has_begun_is_not_followed_by_another(
    error: BaseException, sent: str
) -> None:
    """The error goes to gunicorn, which cuts the connection off."""

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        write = start_response("200 OK", [("Content-Length", "1000")])
        if sent == "headers":
            write(b"")
        if sent == "a piece":
            yield b"abc"
        raise error

    def test() -> None:
        with case(10) as each:
            with pytest.raises(type(error)):
                each.serve(application)
            assert each.sent().count(b"HTTP/1.1") == (sent != "nothing")
            assert each.reported()[0].keys() <= set(ENDINGS)

    in_greenlet(test)


def test_other_errors_are_gunicorns() -> None:
    """A 500 with a traceback in the log is its own business."""

    def test() -> None:
        with case(10) as each:
            with pytest.raises(ZeroDivisionError):
                each.serve(raising(ZeroDivisionError()))
            assert each.sent() == b""

    in_greenlet(test)


def test_killed_while_it_waits_for_its_body() -> None:
    """By the end of the graceful timeout: a 503 that says when to come back."""

    def test() -> None:
        with case(10) as each:
            each.client.sendall(b"12345")
            serving = gevent.spawn(each.serve, reading)
            wait_until(lambda: each.body.received == 5)
            serving.kill()
            join(serving)
            sent = each.sent()
            assert (status(sent), connection_header(sent)) == (503, "close")
            assert b"\r\nRetry-After: 1\r\n" in sent
            counted, lines = each.reported()
            assert counted == {"killed": 1, "bytes": 5}
            assert lines[0][1].endswith("could not wait any longer.")

    in_greenlet(test)


def test_a_kill_that_the_application_takes_for_itself() -> None:
    """What it does with a GreenletExit is its own: no 503 behind its answer."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with contextlib.suppress(gevent.GreenletExit):
            raise gevent.GreenletExit
        return answer(start_response)

    def test() -> None:
        with case(10) as each:
            each.serve(application)
            assert status(each.sent()) == 200
            assert not each.exchange.killed

    in_greenlet(test)


# What the application returns.


class Pieces:
    """A response's iterator that knows how often it was closed."""

    def __init__(self, start_response: Callable[..., Any], error: Exception | None = None) -> None:
        answer(start_response, b"abcdef")
        self._pieces = iter([b"ab", b"cd", b"ef"])
        self._error = error
        self.closed = 0

    def __iter__(self) -> Pieces:
        return self

    def __next__(self) -> bytes:
        if self._error is not None:
            raise self._error
        return next(self._pieces)

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("how", ["whole", "client gone", "raises", "answered for"])
def test_an_iterator_is_closed_once(how: str) -> None:
    """PEP 3333: whatever happened in between."""
    made: list[Pieces] = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        error = {"raises": KeyError("x"), "answered for": IncompleteBody(1, 2)}.get(how)
        start = start_response if how != "answered for" else lambda *_: None
        made.append(Pieces(start, error))
        return made[0]

    def test() -> None:
        with case(10) as each:
            if how == "client gone":
                each.client.close()
            with contextlib.suppress(OSError, KeyError):
                each.serve(application)
        assert [pieces.closed for pieces in made] == [1]

    in_greenlet(test)


@pytest.mark.parametrize("kind", ["list", "file_wrapper"])
def test_what_gunicorn_knows_is_handed_on_as_it_is(kind: str) -> None:
    """A wsgi.file_wrapper is sent with sendfile() only if it is gunicorn's own."""
    given = [b"ok"] if kind == "list" else FileWrapper(io.BytesIO(b"ok"))
    got = []

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        return given

    with case(10) as each, each.exchange.running():
        got = answering_for(application)(each.environ, each.response.start_response)
    assert got is given


def test_a_request_without_a_body_is_left_alone() -> None:
    """Outside of an exchange the application's result is its own."""
    given = iter([b"x"])
    wrapped = answering_for(lambda environ, start_response: given)
    assert wrapped({}, None) is given
    with pytest.raises(IncompleteBody):
        answering_for(raising(IncompleteBody(1, 2)))({}, None)


def test_an_exchange_ends_with_its_request() -> None:
    """The next request in the same greenlet is none of its business; so if it failed."""

    def test() -> None:
        for application in (reading, raising(ZeroDivisionError())):
            with case(10) as each:
                each.client.sendall(bytes(10))
                with contextlib.suppress(ZeroDivisionError):
                    each.serve(application)
                given = iter([b"x"])
                assert answering_for(lambda *_, given=given: given)({}, None) is given

    in_greenlet(test)


# Admission.


def test_an_upload_holds_its_place_until_its_response_is_written() -> None:
    """Small bodies need none; who finds none is refused without the application."""
    settings = UploadSettings(max_uploads=1, small_body_bytes=10, retry_after_seconds=7)
    admission = Admission(settings)
    asked = []

    def begins(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        yield b"o"
        with case(11, settings, admission=admission) as second:
            second.serve(lambda *_: asked.append(1) or [])  # type: ignore[func-returns-value]
            sent = second.sent()
            assert (status(sent), connection_header(sent)) == (503, "keep-alive")
            assert b"\r\nRetry-After: 7\r\n" in sent
        with case(10, settings, admission=admission) as small:
            small.client.sendall(bytes(10))
            small.serve(reading)
            assert status(small.sent()) == 200
        yield b"k"

    def test() -> None:
        for _ in range(2):  # the place is there again
            with case(11, settings, admission=admission) as first:
                first.serve(begins)
                assert first.sent().endswith(b"\r\n\r\nok")

    in_greenlet(test)
    assert asked == []


@pytest.mark.parametrize("length", [10, 11])
def test_an_upload_begins_with_a_turn(length: int) -> None:
    """What the application does before its first read is part of it; a small body takes none."""
    turns = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        turns.append(scheduler.has_turn)
        return answer(start_response)

    with (
        hub_scheduler(FOREVER) as scheduler,
        case(length, UploadSettings(small_body_bytes=10)) as each,
    ):
        in_greenlet(lambda: each.serve(application))
    assert turns == [length > 10]


@pytest.mark.parametrize("error", [ZeroDivisionError(), IncompleteBody(1, 2), MemoryError()])
def test_a_place_is_given_back_by_a_failed_request(error: BaseException) -> None:
    """Whoever catches the error."""
    settings = UploadSettings(max_uploads=1, small_body_bytes=0)
    admission = Admission(settings)

    def test() -> None:
        for _ in range(3):
            with case(10, settings, admission=admission) as each:
                with contextlib.suppress(ZeroDivisionError, MemoryError):
                    each.serve(raising(error))
                assert b" 503 " not in each.sent()

    in_greenlet(test)


def test_a_client_behind_a_proxy() -> None:
    """The limit for each client goes by the address that gunicorn gives the application."""
    settings = UploadSettings(max_uploads_per_client=1, small_body_bytes=0)
    admission = Admission(settings)
    statuses = []

    def begins(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        for address in ("127.0.0.8", "127.0.0.9"):
            with case(10, settings, admission=admission) as other:
                other.environ["REMOTE_ADDR"] = address
                other.client.sendall(bytes(10))
                other.serve(reading)
                statuses.append(status(other.sent()))
        return answer(start_response)

    def test() -> None:
        with case(10, settings, admission=admission) as each:
            each.environ["REMOTE_ADDR"] = "127.0.0.8"
            each.serve(begins)

    in_greenlet(test)
    assert statuses == [503, 200]


# The report.


def test_the_line_of_a_body_that_did_not_end_well() -> None:
    """Who, what, how much, how long and why."""

    def test() -> None:
        with case(5000) as each:
            each.client.sendall(bytes(1234))
            each.client.shutdown(gevent.socket.SHUT_WR)
            each.serve(reading)
            assert status(each.sent()) == 400
            counted, ((level, text),) = each.reported()
            assert counted == {"incomplete": 1, "bytes": 1234}
            assert level == "info"
            assert re.fullmatch(
                r"Upload incomplete: POST /form from 127\.0\.0\.7, 1,234 of 5,000 bytes in "
                r"\d+\.\d{3} s\. The request body is incomplete: received 1,234 of 5,000 bytes "
                r"before the client stopped sending\.",
                text,
            ), text

    in_greenlet(test)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/a\r\nUpload complete: GET /", r"/a\r\nUpload complete: GET /"),
        ("/\x1b[31mred\x00", r"/\x1b[31mred\x00"),
        ("/ä\N{RIGHT-TO-LEFT OVERRIDE}x", r"/\xe4\u202ex"),
        ("/" + 5000 * "x", "/" + 199 * "x"),
        ("/%s%(x)s%", "/%s%(x)s%"),
        ("", ""),
    ],
)
def test_a_path_can_not_forge_a_line(path: str, told: str) -> None:
    """One line of printable ASCII, of bounded length."""
    with case(None, path=path) as each:
        _, ((_, text),) = each.reported()
        assert text.startswith(f"Upload unread: POST {told} from 127.0.0.7, 0 bytes in ")
        assert text.isascii()
        assert text.isprintable()
        assert len(text) < 500


def test_a_client_of_a_unix_socket() -> None:
    """It has no address."""
    with case(None, address="") as each:
        _, ((_, text),) = each.reported()
        assert " from a Unix socket, " in text


def test_a_fault_of_the_storage_is_an_error() -> None:
    """The operator is to see it, with the path, which the client is not told."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        spool = Spool(UploadSettings(spool_directory="/nowhere", spool_memory_bytes=0))
        with pytest.raises(StorageError):
            spool.write(b"x")
        return answer(start_response)

    def test() -> None:
        with case(10) as each:
            each.client.sendall(bytes(10))
            each.serve(application)
            assert b"nowhere" not in each.sent()
            counted, ((level, text),) = each.reported()
            assert counted == {"not_stored": 1}
            assert level == "error"
            assert "Upload not stored: POST /form" in text
            assert "[Errno 2]" in text
            assert "/nowhere" in text

    in_greenlet(test)


class Causes:
    """What may go wrong with one body, each by itself or together with others."""

    names = ("killed", "storage", "body", "refused", "drained", "read")
    endings = ("killed", "not_stored", "malformed", "turned_away", "drained", "complete")

    def __init__(self, *happened: str) -> None:
        self.happened = set(happened)

    @property
    def ending(self) -> str:
        """That of the first in the order of the names."""
        pairs = zip(self.names, self.endings, strict=True)
        return next((ending for name, ending in pairs if name in self.happened), "unread")

    def application(self, environ: dict[str, Any], start_response: Any) -> Any:
        if "storage" in self.happened:
            spool = Spool(UploadSettings(spool_directory="/nowhere", spool_memory_bytes=0))
            with contextlib.suppress(StorageError):
                spool.write(b"x")
        if {"body", "read"} & self.happened:
            with contextlib.suppress(BodyError):
                environ["wsgi.input"].read()
        if "killed" in self.happened:
            raise gevent.GreenletExit
        if "refused" in self.happened:
            raise TooManyUploads("this server", 1, 1)
        return answer(start_response)


COMBINATIONS = [
    causes
    for number in range(4)
    for causes in itertools.combinations(Causes.names, number)
    if not {"body", "read"} <= set(causes) and not {"drained", "read"} <= set(causes)
    if not {"drained", "body"} <= set(causes)  # a broken body is not drained
]


@pytest.mark.parametrize("causes", COMBINATIONS, ids="+".join)
def test_which_ending_goes_first(causes: tuple[str, ...]) -> None:
    """One ending for each body: the cause, and not what came of it."""

    def decoder() -> Iterator[bytes]:
        raise MalformedBody(0, "no size")
        yield b""

    each_of = Causes(*causes)

    def test() -> None:
        broken = "body" in causes
        drain = DRAIN if "drained" in causes else 0
        settings = UploadSettings(drain_bytes=drain)
        with case(None if broken else DRAIN, settings, decoder=decoder()) as each:
            if not broken:
                each.client.sendall(bytes(DRAIN))
            each.serve(each_of.application)
            each.exchange.drain()
            counted, lines = each.reported()
            counted.pop("bytes", None)
            assert counted == {each_of.ending: 1}
            assert len(lines) == (each_of.ending not in ("complete", "drained"))

    in_greenlet(test)
