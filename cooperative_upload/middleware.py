"""CooperativeUploadMiddleware: cooperative request bodies on servers that are not ours.

It takes what a WSGI application can reach: the input, werkzeug's temporary files, the answer. The
socket and the connection stay the server's, so that time limits need gunicorn's
`gunicorn.socket`, and how a connection ends is up to the server. Behind a broken body it has to
end, or the rest of the body would be the next request. gevent's pywsgi is told by a header.
gunicorn takes none from an application, and up to version 26 goes on: its response is told to
close, and the connection lingers and is cut before gunicorn reads from it again.

Where no hub runs the request (the sync and gthread workers, waitress, the development server, a
test client) and where the input is cooperative already (our own worker) it calls the application
as it is. That is decided for each request, and never creates a hub.

How bodies end is told to the logger "cooperative_upload", as INFO.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gevent import GreenletExit

from .body import CooperativeInput, cooperative_input
from .errors import RequestError
from .exchange import (
    Admission,
    Lingering,
    answered,
    cut_off,
    ending_of,
    ending_when_closed,
    forget_headers,
    let_go,
    report,
    response_behind,
)
from .forms import StreamFactory, holding_stream_factory, werkzeug_patch
from .hub import current_hub
from .monitoring import Upload, add_atoms, chosen_id
from .settings import UploadSettings
from .settings_in_force import LayeredSettings, holding_for_request
from .spool import RequestSpools, spools_closed_at_the_end
from .turns import watch_loop

_log = logging.getLogger("cooperative_upload")


class CooperativeUploadMiddleware:
    """`app.wsgi_app = CooperativeUploadMiddleware(app.wsgi_app)`, or around any WSGI application.

    application: a WSGI application.
    settings: by the names of UploadSettings; environment variables go before them, and they go
        before those of the worker. Raises SettingsError for one that is unknown or makes no
        sense. They hold for all that a request does which is given no others. With
        patch_werkzeug, which is on by default, werkzeug's temporary files are cooperative in this
        whole process.
    stream_factory: what makes the streams of the forms' files that werkzeug parses, in place of
        temporary files; storage.form_files() gives one.
    """

    def __init__(
        self,
        application: Callable[..., Any],
        *,
        stream_factory: StreamFactory | None = None,
        **settings: Any,
    ) -> None:
        self._application = application
        self._stream_factory = stream_factory
        self._settings = LayeredSettings(settings)
        self._admission = Admission(self.settings)
        self._lingering = Lingering(self.settings)
        if self.settings.patch_werkzeug:
            werkzeug_patch.apply(self.settings)

    @property
    def settings(self) -> UploadSettings:
        """Those that hold for the requests that go through here."""
        return self._settings.current()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        body = self._cooperative_body(environ)
        if body is None:
            with self._holding():
                response: Iterable[bytes] = self._application(environ, start_response)
                return response
        environ["wsgi.input"] = body
        environ["wsgi.input_terminated"] = True
        request = _Request(self._application, environ, body, self._admission, self._lingering)
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._holding())
            stack.enter_context(request.running())
            response = request.respond(start_response)
            return ending_when_closed(response, environ, stack.pop_all())

    @contextlib.contextmanager
    def _holding(self) -> Iterator[None]:
        """What holds for a request."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(holding_for_request(self.settings))
            if self._stream_factory is not None:
                stack.enter_context(holding_stream_factory(self._stream_factory))
            yield

    def _cooperative_body(self, environ: dict[str, Any]) -> CooperativeInput | None:
        """The request's body as it is to be read; None to leave it as it is."""
        stream = environ.get("wsgi.input")  # werkzeug calls applications with an empty environ
        if stream is None or isinstance(stream, CooperativeInput) or current_hub() is None:
            return None
        watch_loop(self.settings, _log.warning)  # from the first request on, whatever it is
        body = cooperative_input(environ, self.settings)
        return None if body.content_length == 0 else body


class _Request:
    """One request with a body."""

    def __init__(
        self,
        application: Callable[..., Any],
        environ: dict[str, Any],
        body: CooperativeInput,
        admission: Admission,
        lingering: Lingering,
    ) -> None:
        self._application = application
        self._environ = environ
        self._body = body
        self._admission = admission
        self._lingering = lingering
        self._places = contextlib.ExitStack()
        self._upload = _upload(environ, body)
        self._status = 0
        self._start_response: Callable[..., Any] | None = None
        self._answer: RequestError | None = None
        body.tell(self._upload.record)
        add_atoms(environ, self._upload)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While the application runs and its response is written."""
        spools = RequestSpools()
        try:
            with self._upload.running(), spools_closed_at_the_end() as spools, self._places:
                yield
        finally:
            # Also what ends the sending of the response, in which the server closes it.
            raised = sys.exc_info()[0]
            ending, why = ending_of(self._body, spools.error, self._answer)
            if raised is not None and issubclass(raised, GreenletExit):
                ending, why = "killed", "The server ended the request."
            let_go(self._answer, self._body.error)
            report(self._upload, self._body, ending, why, self._status, _log)
            self._end_connection(raised)

    def _end_connection(self, raised: type[BaseException] | None) -> None:
        """Have gunicorn read no other request where it would begin in the middle of something.

        raised: what ends the request, if it does not end by itself. gunicorn closes the
            connection behind an error, unless somebody answers that on its way; and not behind
            what ends a greenlet or a process.
        """
        sock = _connection_of_its_own(self._environ)
        if sock is None:
            return
        if raised is not None and not issubclass(raised, Exception):
            cut_off(sock)
        elif self._body.failed and raised is not None:
            _say_close(self._start_response)
        elif self._body.failed:
            try:
                if current_hub() is not None:  # else the response is closed in a thread
                    self._lingering.close(sock)
            finally:
                cut_off(sock)

    def respond(self, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The application's response, or that of what went wrong before any of it was sent."""
        self._start_response = start_response

        def starting(status: str, headers: list[tuple[str, str]], *args: Any) -> Any:
            if self._body.failed:
                headers = [*headers, ("Connection", "close")]
                _say_close(start_response)
            if self._answer is not None:
                forget_headers(start_response)
            write = start_response(status, headers, *args)
            self._status = int(status[:3])
            return write

        def answer_for(error: RequestError | GreenletExit) -> RequestError:
            out_of_reach = self._status and not _can_be_replaced(self._environ, start_response)
            if isinstance(error, GreenletExit) or out_of_reach:
                raise error
            self._answer = error
            return error

        return answered(
            self._admitted, self._environ, starting, answer_for, self._body, self._places.close
        )

    def _admitted(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        self._admission.admit(self._body, environ.get("REMOTE_ADDR", ""), self._places)
        return self._application(environ, start_response)


def _connection_of_its_own(environ: dict[str, Any]) -> Any | None:
    """gunicorn's socket, unless it carries other requests at the same time (HTTP/2)."""
    if environ.get("SERVER_PROTOCOL", "").startswith("HTTP/2"):
        return None
    return environ.get("gunicorn.socket")


def _can_be_replaced(environ: dict[str, Any], start_response: Any) -> bool:
    """Whether the server takes another response for one that was begun, and not sent.

    gunicorn would add its headers to those of the first, unless it is told to forget them.
    """
    return "gunicorn.socket" not in environ or response_behind(start_response) is not None


def _say_close(start_response: Any) -> None:
    """Have gunicorn's response say that the connection closes."""
    response = response_behind(start_response)
    if response is not None:
        response.force_close()


def _upload(environ: dict[str, Any], body: CooperativeInput) -> Upload:
    return Upload(
        environ.get("REQUEST_METHOD", ""),
        environ.get("PATH_INFO", "").encode("latin-1", "replace").decode("utf-8", "replace"),
        environ.get("REMOTE_ADDR", ""),
        body.content_length,
        chosen_id(environ.get("HTTP_X_PROGRESS_ID", ""), environ.get("QUERY_STRING", "")),
    )
