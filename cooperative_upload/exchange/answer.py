"""Answers to what goes wrong with a request before its response has begun to go out.

That its application has called start_response is no hindrance: PEP 3333 has it called again, with
exc_info, and raises what exc_info holds where the headers are out already.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from gevent import GreenletExit

from ..body import CooperativeInput
from ..errors import RequestError
from .gunicorn_response import forget_headers

# What to answer to an error; raises the error itself where it is too late for an answer.
AnswerFor = Callable[[RequestError | GreenletExit], RequestError]


def answered(
    application: Callable[..., Any],
    environ: dict[str, Any],
    start_response: Callable[..., Any],
    answer_for: AnswerFor,
    body: CooperativeInput,
    release: Callable[[], object],
) -> Iterable[bytes]:
    """The application's response, or the answer to what it let through.

    release: called, also more than once, when nobody needs any more what uploads hold for as long
        as they are received: the application has ended, or its body has and it goes on to respond.
        How long the client takes to read that is the client's affair.
    """

    def answer_to(error: RequestError | GreenletExit) -> Iterable[bytes]:
        pieces = _answer(answer_for(error), error, environ, start_response)
        release()
        return pieces

    def release_behind_body() -> None:
        if body.to_come == 0 or body.failed:
            release()

    try:
        response: Iterable[bytes] = application(environ, start_response)
    except (RequestError, GreenletExit) as error:
        return answer_to(error)
    if isinstance(response, Sequence):
        release()
        return response  # nothing of the application runs while it is taken
    release_behind_body()
    if is_file_wrapper(response, environ):
        return response
    if not isinstance(response, Iterable):
        return response  # the server says what is wrong with that
    return _AnsweredWhileTaken(response, answer_to, release_behind_body)


def _answer(
    answer: RequestError,
    error: BaseException,
    environ: dict[str, Any],
    start_response: Callable[..., Any],
) -> Iterable[bytes]:
    pieces, status, headers = answer.get_response(environ).get_wsgi_response(environ)
    forget_headers(start_response)
    start_response(status, headers, (type(error), error, error.__traceback__))
    return pieces


class _AnsweredWhileTaken:
    """The pieces of a response whose application may do all its work while they are taken.

    No generator: that has no end to tell the application of where it was never begun, and PEP 3333
    has close() called in any case.
    """

    def __init__(
        self,
        response: Iterable[bytes],
        answer_to: Callable[[RequestError | GreenletExit], Iterable[bytes]],
        before_sending: Callable[[], object],
    ) -> None:
        self._response = response
        self._before_sending = before_sending
        self._answer_to = answer_to
        self._pieces: Iterator[bytes] | None = None
        self._has_begun = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._pieces is None:
                self._pieces = iter(self._response)
            piece = next(self._pieces)
        except (RequestError, GreenletExit) as error:
            if self._has_begun:  # also where a server sends it later, when it has all of it
                raise
            self._pieces = iter(self._answer_to(error))
            piece = next(self._pieces)
        self._has_begun = self._has_begun or bool(piece)
        self._before_sending()
        return piece

    def close(self) -> None:
        """The server has taken what it wants of it."""
        if hasattr(self._response, "close"):
            self._response.close()


def ending_when_closed(
    response: Iterable[bytes], environ: dict[str, Any], end: contextlib.ExitStack
) -> Iterable[bytes]:
    """The response, with whose close() `end` is closed too.

    A wsgi.file_wrapper stays the object that it is, since the server knows it by its type and
    sends what it holds after the application has returned.
    """
    closing = contextlib.ExitStack()  # which closes the rest too where one of them raises
    closing.push(end)
    if hasattr(response, "close"):
        closing.callback(response.close)
    if is_file_wrapper(response, environ):
        wrapper: Any = response
        try:
            wrapper.close = closing.close
        except AttributeError:  # of a type that is not Python's; sent as any other response
            pass
        else:
            return response
    return _Closing(response, closing)


class _Closing:
    """A response with another close()."""

    def __init__(self, response: Iterable[bytes], closing: contextlib.ExitStack) -> None:
        self._response = response
        self.close = closing.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._response)


def is_file_wrapper(response: object, environ: dict[str, Any]) -> bool:
    """Whether it is a wsgi.file_wrapper (PEP 3333), which the server knows by its type."""
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(response, wrapper)
