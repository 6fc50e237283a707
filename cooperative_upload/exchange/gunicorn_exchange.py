"""Exchange: one request with a body, from its headers to the end of both.

It keeps the rule that nobody works for a body that nobody reads: "100 Continue" goes out when the
application reads, and what it did not read is thrown away up to a bound, or else the response
says Connection: close. And it says how each body ended: a count for each, and a line in the log
for each that did not end well.

The response is gunicorn's; it is written by the application that is wrapped by answering_for().
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import gevent
from gevent import GreenletExit

from ..body import BLOCK_BYTES, CooperativeInput
from ..context_scope import ContextScope
from ..errors import BodyError, RequestError, StorageError, WorkerEnding
from ..monitoring import Upload, add_atoms
from ..settings import UploadSettings
from ..spool import spools_closed_at_the_end
from .admission import Admission
from .answer import answered
from .beyond_wsgi import SEND_INTERIM, TRAILERS, Headers, SendInterim
from .ending import ending_of, let_go, report

_current: ContextScope[Exchange] = ContextScope("exchange")


class Exchange:
    """What one request with a body needs beside the body itself.

    body: its wsgi.input.
    upload: as which it is told to others.
    request: gunicorn's; of it should_close is used.
    trailers: gives the fields behind the body.
    send_interim: sends an interim response; None where the protocol has none.
    """

    def __init__(
        self,
        body: CooperativeInput,
        upload: Upload,
        request: Any,
        settings: UploadSettings,
        admission: Admission,
        trailers: Callable[[], Mapping[str, str]] = dict,
        send_interim: SendInterim | None = None,
    ) -> None:
        self.body = body
        self.killed = False
        self._upload = upload
        body.tell(upload.record)
        self._settings = settings
        self._admission = admission
        self._trailers = trailers
        self._send_interim = send_interim
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
        if self._awaits_continue and not self._response_begun:
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
        self._closing = (
            self._closing or self.killed or self._stock_should_close() or self.leaves_too_much
        )
        return self._closing

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While the application runs and its response is written."""
        with (
            _current.holding(self),
            self._upload.running(),
            spools_closed_at_the_end() as spools,
            self._places,
        ):
            try:
                yield
            except GreenletExit:  # in the application, or in sending its response
                self.killed = True
                raise
            finally:
                self._storage_error = spools.error

    def drain(self) -> None:
        """Throw away what is left of a body that the application did not read to its end."""
        if self.leaves_too_much or not self.body.to_come:
            return
        self._upload.record.draining = 1
        self._upload.record.status = self._status  # whoever asks need not wait for the rest
        with self._upload.running(), contextlib.suppress(BodyError, gevent.Timeout):
            with gevent.Timeout(self._settings.lingering_seconds):
                while self.body.read(BLOCK_BYTES):
                    pass
            self._drained = True

    def report(self, log: Any, *, raised: bool = False) -> None:
        """Count how the body ended, and write a line to the log unless it ended well.

        raised: by the application, or in sending what it had answered. Where nothing of that has
            gone out, the answer is gunicorn's own, and the application has none.
        """
        ending, why = self._ending()
        let_go(self._answer, self.body.error)
        status = 0 if raised and not self._response_begun else self._status
        report(self._upload, self.body, ending, why, status, log)

    @property
    def _response_begun(self) -> bool:
        return self._response is not None and bool(self._response.headers_sent)

    @property
    def _status(self) -> int:
        return getattr(self._response, "status_code", None) or 0

    def answer(
        self,
        application: Callable[..., Any],
        environ: dict[str, Any],
        start_response: Callable[..., Any],
    ) -> Iterable[bytes]:
        """The application's response, or that of what went wrong before any of it was sent."""
        self._response = start_response.__self__  # type: ignore[attr-defined]
        if environ.get("REMOTE_ADDR"):  # not the socket's own where a proxy tells it
            self._upload.client_is(environ["REMOTE_ADDR"])
        add_atoms(environ, self._upload)
        environ[TRAILERS] = self._trailers
        if self._send_interim is not None:
            environ[SEND_INTERIM] = self._interim

        def admitted(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            client = environ.get("REMOTE_ADDR", "")
            self._admission.admit(self.body, client, self._places)
            return application(environ, start_response)

        return answered(
            admitted, environ, start_response, self._answer_for, self.body, self._places.close
        )

    def _interim(self, status: int, phrase: str, headers: Headers) -> None:
        """Send an interim response, unless the final one has begun."""
        if self._send_interim is not None and not self._response_begun:
            self._send_interim(status, phrase, headers)

    def _answer_for(self, error: RequestError | GreenletExit) -> RequestError:
        if isinstance(error, GreenletExit):
            self.killed = True
        if self._response_begun:
            raise error
        self._answer = error if isinstance(error, RequestError) else WorkerEnding()
        return self._answer

    def _ending(self) -> tuple[str, str]:
        if self.killed:
            return "killed", "The worker was told to end and could not wait any longer."
        ending, why = ending_of(self.body, self._storage_error, self._answer)
        return ("drained", "") if self._drained and ending == "complete" else (ending, why)


def answering_for(application: Callable[..., Any]) -> Callable[..., Any]:
    """The application, with an answer to what goes wrong with a body before it responds."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        exchange = _current.get()
        if exchange is None:
            environ[TRAILERS] = dict  # by which an application sees that this server gives them
            response: Iterable[bytes] = application(environ, start_response)
            return response
        return exchange.answer(application, environ, start_response)

    return wrapped
