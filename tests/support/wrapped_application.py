"""The applications that are served with the wrapper around them, on any server.

wrapped() has the middleware, extended() the Flask extension, and limited() the middleware with a
limit of 1 MB. Each answers what applications.py answers, and says what its requests look like.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from applications import make_flask_application, plain_application
from flask import Flask, request
from werkzeug import Request, Response
from werkzeug.wsgi import wrap_file

from cooperative_upload import (
    BodyAlreadyRead,
    BodyError,
    CooperativeUploadMiddleware,
    receive,
    stream_parts,
)
from cooperative_upload.flask_ext import CooperativeUpload

Environ = dict[str, Any]
Application = Callable[..., Iterable[bytes]]

LIMIT_BYTES = 1_000_000


def wrapped() -> Application:
    return remembering_the_input(CooperativeUploadMiddleware(routed(make_application())))


def limited() -> Application:
    application = routed(make_application())
    return remembering_the_input(
        CooperativeUploadMiddleware(application, max_body_bytes=LIMIT_BYTES)
    )


def extended() -> Application:
    flask = make_application()
    CooperativeUpload(flask)
    return remembering_the_input(flask.wsgi_app)


def remembering_the_input(application: Application) -> Application:
    """So that what is inside of the wrapper can compare."""

    def remember(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["test.input"] = environ["wsgi.input"]
        return application(environ, start_response)

    return remember


def make_application() -> Flask:
    flask = make_flask_application(None)

    @flask.post("/request")
    def describe_request() -> dict[str, Any]:
        stream = request.environ["wsgi.input"]
        files = list(request.files.values())
        return {
            "input": type(stream).__name__,
            "replaced": stream is not request.environ["test.input"],
            "spools": [type(file.stream).__name__ for file in files],
        }

    @flask.put("/receive")
    def receive_body() -> dict[str, Any]:
        received = receive(request, request.args["to"], digests=["sha-256"], fsync=False)
        return {"size": received.size, "sha256": received.digests["sha-256"].hex()}

    @flask.put("/read-and-receive")
    def read_and_receive() -> dict[str, Any]:
        """Answers with what receive() says of a body that was read before."""
        request.get_data(cache="cached" in request.args)
        try:
            return receive_body()
        except BodyAlreadyRead as error:
            return {"error": str(error)}

    @flask.post("/stream-parts")
    def receive_parts() -> list[Any]:
        directory = Path(request.args["to"])
        stored = []
        for part in stream_parts(request):
            saved = part.save_to(directory / part.name, digests=["sha-256"], fsync=False)
            stored.append([part.name, saved.size, saved.digests["sha-256"].hex()])
        return stored

    return flask


def routed(flask: Flask) -> Application:
    def route(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith("/plain"):
            return plain_application(environ, start_response)
        if path == "/operations":
            return perform(environ, start_response)
        if path == "/send-back":
            return send_back(environ, start_response)
        return flask(environ, start_response)

    return route


def send_back(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with the uploaded file itself, by wsgi.file_wrapper where the server has one."""
    stream = Request(environ).files["file"].stream
    response = Response(wrap_file(environ, stream), direct_passthrough=True)
    return response(environ, start_response)


def perform(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Call methods of the input that the query lists, and answer with what each returned."""
    calls = json.loads(parse_qs(environ["QUERY_STRING"])["calls"][0])
    answer = json.dumps(results_of(calls, environ["wsgi.input"])).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))]
    start_response("200 OK", headers)
    return [answer]


def results_of(calls: Iterable[tuple[str, list[int]]], stream: Any) -> list[Any]:
    """A digest for each call, up to and with the first that raises."""
    results: list[Any] = []
    for name, arguments in calls:
        try:
            returned = list(stream) if name == "iterate" else getattr(stream, name)(*arguments)
        except BodyError as error:
            return [*results, type(error).__name__]
        results.append(digest(returned))
    return results


def digest(returned: bytes | list[bytes]) -> list[Any]:
    """The number of bytes, or of lines, and a digest of all."""
    lines = [returned] if isinstance(returned, bytes) else returned
    joined = b"".join(b"%d:%s," % (len(line), line) for line in lines)
    size = len(returned)
    return [type(returned).__name__, size, hashlib.sha256(joined).hexdigest()]
