"""What a request is answered: to errors of its body, and with what the application returns."""

from __future__ import annotations

import contextlib
import errno
import io
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from exchanges import answer, case, connection_header, raising, reading, status
from greenlets import in_greenlet, join, wait_until
from gunicorn.http.wsgi import FileWrapper

from cooperative_upload.errors import (
    BodyTooLarge,
    IncompleteBody,
    MalformedBody,
    RequestError,
    StorageError,
    TooManyUploads,
)
from cooperative_upload.exchange.gunicorn_exchange import answering_for
from cooperative_upload.monitoring.board import ENDINGS
from cooperative_upload.settings import UploadSettings

pytestmark = pytest.mark.usefixtures("own_scheduler_and_writer")


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
@pytest.mark.parametrize("sent", ["headers", "a piece"])
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
            assert each.sent().count(b"HTTP/1.1") == 1
            assert each.reported()[0].keys() <= set(ENDINGS)

    in_greenlet(test)


@pytest.mark.parametrize(
    ("error", "expected"), [(IncompleteBody(3, 10), 400), (gevent.GreenletExit(), 503)]
)
@pytest.mark.parametrize("kind", ["list", "generator"])
def test_a_response_of_which_nothing_was_sent_is_replaced(
    error: BaseException, expected: int, kind: str
) -> None:
    """With all of its headers: gunicorn would keep them beside the new ones (PEP 3333)."""

    def list_application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "1000"), ("X-Of-The-Application", "1")])
        raise error

    def generator_application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        yield from list_application(environ, start_response)

    def test() -> None:
        with case(10) as each:
            each.serve(list_application if kind == "list" else generator_application)
            sent = each.sent()
            assert status(sent) == expected
            head, _, body = sent.partition(b"\r\n\r\n")
            assert b"X-Of-The-Application" not in head
            lengths = [line for line in head.split(b"\r\n") if line.startswith(b"Content-Length")]
            assert lengths == [b"Content-Length: %d" % len(body)]

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
