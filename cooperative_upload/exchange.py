"""Exchange: one request with a body, from its headers to the end of both.

It keeps the rule that nobody works for a body that nobody reads: "100 Continue" goes out when the
application reads, and what it did not read is thrown away up to a bound, or else the response
says Connection: close. And it says how each body ended: a count for each, and a line in the log
for each that did not end well.

The response is gunicorn's; it is written by the application that is wrapped by answering_for().
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import gevent
from gevent import GreenletExit

from .admission import Admission
from .answer import answered
from .blocks import BLOCK_BYTES
from .body import CooperativeInput
from .errors import BodyError, RequestError, StorageError, WorkerEnding, progress
from .monitor import count
from .settings import UploadSettings
from .spool import spools_closed_at_the_end

_current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)

# Endings that need no line in the log.
_ENDED_WELL = frozenset({"complete", "drained"})

_LONGEST_PATH = 200  # characters of a path in the log


class Exchange:
    """What one request with a body needs beside the body itself.

    body: its wsgi.input.
    request: gunicorn's; of it method, path and should_close are used.
    client: the address that gunicorn has for it.
    """

    def __init__(
        self,
        body: CooperativeInput,
        request: Any,
        client: Any,
        settings: UploadSettings,
        admission: Admission,
    ) -> None:
        self.body = body
        self.killed = False
        self._began = time.monotonic()
        self._request = request
        self._client = client[0] if isinstance(client, tuple) else "a Unix socket"
        self._settings = settings
        self._admission = admission
        self._places = contextlib.ExitStack()
        self._awaits_continue = False
        self._closing = False
        self._answer: RequestError | None = None
        self._storage_error: StorageError | None = None
        self._response: Any = None
        self._drained = False
        self._stock_should_close: Callable[[], bool] = request.should_close
        request.should_close = self.should_close

    def expect_continue(self) -> None:
        """The client waits for "100 Continue" before it sends the body."""
        self._awaits_continue = True

    def announce_reading(self, send: Callable[[bytes], object]) -> None:
        """Tell a client that waits for it to send the body, unless it has its answer already.

        RFC 9110 section 10.1.1: no 100 once the final status is on its way.
        """
        responded = self._response is not None and self._response.headers_sent
        if self._awaits_continue and not responded:
            self._awaits_continue = False
            send(b"HTTP/1.1 100 Continue\r\n\r\n")

    @property
    def leaves_too_much(self) -> bool:
        """Whether the connection can't be kept: the rest of the body is too long, or unknown.

        A client that still waits for "100 Continue" may send the body after all, or not.
        """
        to_come = self.body.to_come
        return (
            self.body.failed
            or to_come is None
            or to_come > self._settings.drain_bytes
            or (self._awaits_continue and to_come > 0)
        )

    def should_close(self) -> bool:
        """In the place of the request's own: what the response's Connection header says.

        What it has once said stays so, also if the application reads the rest afterwards.
        """
        self._closing = self._closing or self._stock_should_close() or self.leaves_too_much
        return self._closing

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While the application runs and its response is written."""
        token = _current.set(self)
        try:
            with spools_closed_at_the_end() as spools, self._places:
                try:
                    yield
                finally:
                    self._storage_error = spools.error
        finally:
            _current.reset(token)

    def drain(self) -> None:
        """Throw away what is left of a body that the application did not read to its end."""
        if self.leaves_too_much or not self.body.to_come:
            return
        with contextlib.suppress(BodyError, gevent.Timeout):
            with gevent.Timeout(self._settings.lingering_seconds):
                while self.body.read(BLOCK_BYTES):
                    pass
            self._drained = True

    def report(self, log: Any) -> None:
        """Count how the body ended, and write a line to the log unless it ended well."""
        ending, why = self._ending()
        for error in (self._answer, self.body.error):
            _let_go(error)
        count(ending)
        count("bytes", self.body.received)
        if ending in _ENDED_WELL:
            return
        write = log.error if ending == StorageError.ending else log.info
        write(
            "Upload %s: %s %s from %s, %s in %.3f s. %s",
            ending.replace("_", " "),
            self._request.method,
            ascii(self._request.path)[1:-1][:_LONGEST_PATH],
            self._client,
            progress(self.body.received, self.body.content_length),
            time.monotonic() - self._began,
            why,
        )

    def answer(
        self,
        application: Callable[..., Any],
        environ: dict[str, Any],
        start_response: Callable[..., Any],
    ) -> Iterable[bytes]:
        """The application's response, or that of what went wrong before it had begun one."""
        self._response = start_response.__self__  # type: ignore[attr-defined]
        self._client = environ.get("REMOTE_ADDR") or self._client

        def admitted(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            self._admit()
            return application(environ, start_response)

        return answered(admitted, environ, start_response, self._answer_for)

    def _answer_for(self, error: RequestError | GreenletExit) -> RequestError:
        if isinstance(error, GreenletExit):
            self.killed = True
        if self._response.status is not None:
            raise error
        self._answer = error if isinstance(error, RequestError) else WorkerEnding()
        return self._answer

    def _admit(self) -> None:
        """Raise what the request is refused with before the application sees it."""
        if self.body.error is not None:
            raise self.body.error
        if not self.body.takes_turns:
            return
        self._places.enter_context(self._admission.upload_from(self._client))
        # What the application does before its first read is part of the upload too: a hundred
        # uploads that begin at once would otherwise do it all in one round of the loop.
        self.body.checkpoint()

    def _ending(self) -> tuple[str, str]:
        """How the body ended, by the names of monitor.ENDINGS, and why."""
        error = self._storage_error or self.body.error or self.body.rejected_for or self._answer
        if self.killed:
            return "killed", "The worker was told to end and could not wait any longer."
        if error is not None:
            in_full = isinstance(error, StorageError)  # with what the client is not told
            return error.ending, str(error) if in_full else error.description or ""
        if self._drained:
            return "drained", ""
        if self.body.to_come == 0:
            return "complete", ""
        return "unread", "The application answered without reading the rest."


def _let_go(error: BaseException | None) -> None:
    """Free the frames through which an error went, which is kept for longer than they are needed.

    They hold what the application had open, as the temporary file of a framework that knows
    nothing of this package, until the garbage collector finds them.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def answering_for(application: Callable[..., Any]) -> Callable[..., Any]:
    """The application, with an answer to what goes wrong with a body before it responds."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        exchange = _current.get()
        if exchange is None:
            response: Iterable[bytes] = application(environ, start_response)
            return response
        return exchange.answer(application, environ, start_response)

    return wrapped
