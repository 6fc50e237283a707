"""What every protocol does with a request, written once.

A Protocol reads the fields of a request, calls the verbs, and writes a response. Whose request it
is, what an error looks like, what a page of another origin may see, and that a status question is
never answered with a 5xx, is decided here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from typing import Any, Protocol
from urllib.parse import quote

from werkzeug.exceptions import Forbidden, HTTPException
from werkzeug.wrappers import Request as WerkzeugRequest
from werkzeug.wrappers import Response

from ..body import CooperativeInput, settings_of_body, take_body
from ..errors import RequestError
from ..uploads import Grant, Later, Limits, NoSuchUpload
from .cors import Cors
from .problems import Problem, problem_of, problem_response

_log = logging.getLogger("cooperative_upload")

Headers = list[tuple[str, str]]

# Statuses that a client of tus takes for the end of an upload, or for the order to begin it anew,
# where it only asks how far it is.
_NO_ANSWER_TO_A_STATUS_QUESTION = frozenset({401, 408, 429})

# What an id can look like. Nothing else reaches the database.
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class Request(WerkzeugRequest):
    """A request of any protocol, for authorize() and for the protocols."""

    def field(self, name: str) -> str:
        """A header's value; "" where there is none."""
        return self.headers.get(name, "")

    def body(self) -> CooperativeInput:
        """The body, of which nothing was read before. Raises BodyAlreadyRead."""
        return take_body(self, self.environ, settings_of_body(self.environ), "an upload")


Authorize = Callable[[Request], "Grant | str | None"]
"""Of a request: a Grant, or the owner alone; None is a refusal, and so is any HTTPException."""

# Whose uploads are where nobody is asked.
_NOBODY = ""


class WireFormat(Protocol):
    """One protocol."""

    def recognizes(self, request: Request) -> bool:
        """Whether a request is one of this protocol's."""

    def options(self, request: Request, limits: Limits) -> Headers:
        """What the answer to OPTIONS says of it."""

    def always(self, request: Request) -> Headers:
        """What every response of it has."""

    def answer(self, request: Request, grant: Grant, id: str | None) -> Response:
        """Do what is asked. Raises HTTPExceptions, those of the verbs among them.

        id: of the upload that the address names; None for the address at which uploads begin.
        """


class Handling:
    """Requests of some protocols, from their headers to their responses.

    protocols: the first that recognizes a request has it; the last one all others.
    authorize: asked for every request but OPTIONS, before the client is asked for its body; None:
        everybody may.
    limits: those of owners for whom authorize says nothing else.
    cors: whose pages may upload.
    """

    def __init__(
        self,
        protocols: Iterable[WireFormat],
        authorize: Authorize | None,
        limits: Limits,
        cors: Cors,
    ) -> None:
        self._protocols = tuple(protocols)
        self._authorize = authorize
        self._limits = limits
        self._cors = cors

    def respond(self, environ: dict[str, Any], id: str | None) -> Response:
        """The response to a request."""
        request = Request(environ)
        override = request.field("X-HTTP-Method-Override")
        if override and request.method == "POST":
            request.method = override.upper()
        response = self._response(request, id)
        response.headers.extend(self._cors.headers(environ))
        return response

    def _response(self, request: Request, id: str | None) -> Response:
        if request.method == "OPTIONS":
            headers = [
                header
                for protocol in self._protocols
                for header in protocol.options(request, self._limits)
            ]
            return bare_response(204, headers)
        protocol = self._protocol_of(request)
        try:
            if id is not None and not _ID.fullmatch(id):
                raise NoSuchUpload()
            response = protocol.answer(request, self._granted(request), id)
        except HTTPException as error:
            _note(request, error)
            response = problem_response(_problem_for(request, error))
        except Exception:
            if request.method != "HEAD":
                raise
            _log.exception("No answer to how far an upload is: %s", request.path)
            response = problem_response(problem_of(Later()))
        response.headers.extend(protocol.always(request))
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def _protocol_of(self, request: Request) -> WireFormat:
        recognized = (each for each in self._protocols if each.recognizes(request))
        return next(recognized, self._protocols[-1])

    def _granted(self, request: Request) -> Grant:
        if self._authorize is None:
            return Grant(_NOBODY, self._limits)
        granted = self._authorize(request)
        if granted is None:
            raise Forbidden("Uploads are not allowed.")
        return Grant(granted, self._limits) if isinstance(granted, str) else granted


def bare_response(status: int, headers: Headers | None = None) -> Response:
    """One that is all status and headers."""
    response = Response(status=status, headers=headers)
    del response.headers["Content-Type"]  # of nothing
    return response


def location_of(request: Request, id: str) -> str:
    """The address of an upload for who began it by this request, relative to the request's own.

    Neither the scheme and the host nor the path before it are known behind a proxy.
    """
    path = request.environ.get("SCRIPT_NAME", "") + request.environ.get("PATH_INFO", "")
    last_segment = quote(path.rpartition("/")[2].encode("latin-1"))
    return f"{last_segment}/{id}" if last_segment else id


def _note(request: Request, error: HTTPException) -> None:
    """Have the log and the counters say how a body ended that we have answered ourselves."""
    body = request.environ.get("wsgi.input")
    cause = error.cause if isinstance(error, Problem) else error
    if not isinstance(body, CooperativeInput) or not isinstance(cause, RequestError):
        return
    if body.to_come != 0 or cause.ending != "unread":
        body.rejected(cause)


def _problem_for(request: Request, error: HTTPException) -> Problem:
    problem = problem_of(error)
    status = problem.code or 500
    if request.method == "HEAD" and (status >= 500 or status in _NO_ANSWER_TO_A_STATUS_QUESTION):
        return problem_of(Later(f"No answer now: {problem.detail or problem.title}"))
    return problem
