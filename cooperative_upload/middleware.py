"""CooperativeUploadMiddleware: cooperative request bodies on servers that are not ours.

It takes what a WSGI application can reach: the input, werkzeug's temporary files, the answer. The
socket and the connection stay the server's, so that time limits need gunicorn's
`gunicorn.socket`, and how a connection ends is up to the server. Behind a broken body it has to
end, or the rest of the body would be the next request: gunicorn sees to that itself, gevent's
pywsgi is told by a header, since it does not see an error that the application has answered.

Where no hub runs the request (the sync and gthread workers, waitress, the development server, a
test client) and where the input is cooperative already (our own worker) it calls the application
as it is. That is decided for each request, and never creates a hub.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from typing import Any

from gevent import GreenletExit
from werkzeug.wsgi import ClosingIterator

from . import werkzeug_patch
from .admission import Admission
from .answer import answered, is_file_wrapper
from .body import CooperativeInput
from .errors import RequestError
from .scheduler import current_hub
from .settings import UploadSettings
from .spool import spools_closed_at_the_end
from .wsgi_input import cooperative_input


class CooperativeUploadMiddleware:
    """`app.wsgi_app = CooperativeUploadMiddleware(app.wsgi_app)`, or around any WSGI application.

    application: a WSGI application.
    settings: by the names of UploadSettings; environment variables go before them. Raises
        SettingsError for one that is unknown or makes no sense. With patch_werkzeug, which is on
        by default, werkzeug's temporary files are cooperative in this whole process.
    """

    def __init__(self, application: Callable[..., Any], **settings: Any) -> None:
        self._application = application
        self.settings = UploadSettings.from_environment(os.environ, settings)
        self._admission: Admission | None = None
        if self.settings.patch_werkzeug:
            werkzeug_patch.apply(self.settings)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        body = self._cooperative_body(environ)
        if body is None:
            response: Iterable[bytes] = self._application(environ, start_response)
            return response
        environ["wsgi.input"] = body
        environ["wsgi.input_terminated"] = True
        with contextlib.ExitStack() as stack:
            stack.enter_context(spools_closed_at_the_end())
            response = self._respond(environ, start_response, body, stack)
            if is_file_wrapper(response, environ):
                return response
            closing: Iterable[bytes] = ClosingIterator(response, stack.pop_all().close)
            return closing

    def _cooperative_body(self, environ: dict[str, Any]) -> CooperativeInput | None:
        """The request's body as it is to be read; None to leave it as it is."""
        stream = environ.get("wsgi.input")  # werkzeug calls applications with an empty environ
        if stream is None or isinstance(stream, CooperativeInput) or current_hub() is None:
            return None
        body = cooperative_input(environ, self.settings)
        return None if body.content_length == 0 else body

    def _respond(
        self,
        environ: dict[str, Any],
        start_response: Callable[..., Any],
        body: CooperativeInput,
        stack: contextlib.ExitStack,
    ) -> Iterable[bytes]:
        begun = False

        def starting(status: str, headers: list[tuple[str, str]], *args: Any) -> Any:
            nonlocal begun
            begun = True
            if body.failed:
                headers = [*headers, ("Connection", "close")]
            return start_response(status, headers, *args)

        def answer_for(error: RequestError | GreenletExit) -> RequestError:
            if begun or isinstance(error, GreenletExit):
                raise error
            return error

        def admitted(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            if body.error is not None:
                raise body.error
            if body.takes_turns:
                stack.enter_context(self._places().upload_from(environ.get("REMOTE_ADDR", "")))
                body.checkpoint()
            return self._application(environ, start_response)

        return answered(admitted, environ, starting, answer_for)

    def _places(self) -> Admission:
        # Made by the first upload: a semaphore of gevent's would make a hub where there is none.
        if self._admission is None:
            self._admission = Admission(self.settings)
        return self._admission
