"""Answers to what goes wrong with a request before its application has begun to respond."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from gevent import GreenletExit
from werkzeug.wsgi import ClosingIterator

from ..errors import RequestError

# What to answer to an error; raises the error itself where it is too late for an answer.
AnswerFor = Callable[[RequestError | GreenletExit], RequestError]


def answered(
    application: Callable[..., Any],
    environ: dict[str, Any],
    start_response: Callable[..., Any],
    answer_for: AnswerFor,
) -> Iterable[bytes]:
    """The application's response, or the answer to what it let through."""
    try:
        response: Iterable[bytes] = application(environ, start_response)
    except (RequestError, GreenletExit) as error:
        return answer_for(error).get_response(environ)(environ, start_response)
    if isinstance(response, Sequence) or is_file_wrapper(response, environ):
        return response  # nothing of the application runs while it is taken
    if not isinstance(response, Iterable):
        return response  # the server says what is wrong with that
    return _answered_while_taken(response, environ, start_response, answer_for)


def _answered_while_taken(
    response: Iterable[bytes],
    environ: dict[str, Any],
    start_response: Callable[..., Any],
    answer_for: AnswerFor,
) -> Iterator[bytes]:
    """The pieces of a response whose application may do all its work while they are taken."""
    try:
        for piece in response:  # noqa: UP028  # yield from would close it too
            yield piece
    except (RequestError, GreenletExit) as error:
        yield from answer_for(error).get_response(environ)(environ, start_response)
    finally:
        if hasattr(response, "close"):
            response.close()


def ending_when_closed(
    response: Iterable[bytes], environ: dict[str, Any], end: contextlib.ExitStack
) -> Iterable[bytes]:
    """The response, with whose close() `end` is closed too.

    A wsgi.file_wrapper stays the object that it is, since the server knows it by its type and
    sends what it holds after the application has returned.
    """
    if is_file_wrapper(response, environ):
        wrapper: Any = response
        closing = contextlib.ExitStack()
        closing.push(end)
        if hasattr(wrapper, "close"):
            closing.callback(wrapper.close)
        try:
            wrapper.close = closing.close
        except AttributeError:  # of a type that is not Python's; sent as any other response
            pass
        else:
            return response
    ending: Iterable[bytes] = ClosingIterator(response, end.close)
    return ending


def is_file_wrapper(response: object, environ: dict[str, Any]) -> bool:
    """Whether it is a wsgi.file_wrapper (PEP 3333), which the server knows by its type."""
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(response, wrapper)
