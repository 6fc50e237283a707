"""The application of the tests about how bodies end: it refuses, waits, catches and raises.

Unlike applications.py it knows the package, whose errors it catches and whose counters it shows.
It serves Flask at /, Flask with an errorhandler(413) at /handled, and at /plain and /limited what
applications.py has there. With WITHOUT_GARBAGE_COLLECTION in the environment nothing is freed by
accident.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import Any

import gevent
from applications import (
    BLOCK_BYTES,
    digest_of,
    going_on,
    limited_application,
    make_flask_application,
    plain_application,
)
from flask import Flask, abort, request

from cooperative_upload import BodyError, receive, upload_statistics
from cooperative_upload.errors import BodyTooLarge, RequestError

if "WITHOUT_GARBAGE_COLLECTION" in os.environ:
    gc.disable()

QUOTA = 1000  # bytes

caught: list[dict[str, Any]] = []
noted: list[str] = []
waiting: set[str] = set()


def described(error: BodyError) -> dict[str, Any]:
    """Its class and what it says of itself."""
    attributes = ("received", "expected", "seconds", "minimum", "limit")
    known = {name: getattr(error, name) for name in attributes if hasattr(error, name)}
    return {"class": type(error).__name__, **known}


def members_alone(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if request.headers.get("Authorization") != "member":
            abort(403, "Members alone may upload.")
        return view(*args, **kwargs)

    return checked


def make_application() -> Flask:
    flask = make_flask_application(None)

    @flask.before_request
    def check_token() -> None:
        if request.path.startswith("/token/") and "Authorization" not in request.headers:
            abort(401, "No upload without a token.")

    @flask.post("/token/upload")
    def upload_with_token() -> dict[str, Any]:
        return digest_of(request.stream.read)

    @flask.post("/members/upload")
    @members_alone
    def upload_of_members() -> dict[str, Any]:
        return digest_of(request.stream.read)

    @flask.route("/quota/upload", methods=["POST", "PUT"])
    def upload_within_quota() -> dict[str, Any]:
        if request.content_length is None or request.content_length > QUOTA:
            abort(413, f"Your quota is {QUOTA} bytes.")
        return digest_of(request.stream.read)

    @flask.route("/refuse", methods=["POST", "PUT"])
    def refuse() -> str:
        request.stream.read(int(request.args.get("after", 0)))
        abort(int(request.args["status"]), "Refused, for a reason.")

    @flask.post("/receive")
    def store() -> str:
        """Where the query says. A target that can't be written is no fault of the server's."""
        target = request.args.get("to", os.path.join(tempfile.gettempdir(), "received"))
        try:
            receive(request, target)
        except RequestError:
            raise
        except OSError as error:
            abort(409, f"Not writable: {error.strerror}.")
        return "stored"

    @flask.post("/raise-at-once")
    def raise_at_once() -> str:
        raise RuntimeError("before the first read")

    @flask.post("/when-told")
    def read_when_told() -> dict[str, Any]:
        """Wait for POST /go-on before the first read."""
        name = request.args["name"]
        waiting.add(name)
        going_on[name].wait()
        return digest_of(request.stream.read)

    @flask.get("/waiting")
    def is_waiting() -> list[bool]:
        return [request.args["name"] in waiting]

    @flask.post("/catch")
    def catch() -> dict[str, Any]:
        """Keep the error of the body for GET /caught, and let it through."""
        try:
            return digest_of(request.stream.read)
        except BodyError as error:
            caught.append(described(error))
            raise

    @flask.get("/caught")
    def caught_errors() -> list[dict[str, Any]]:
        return caught

    @flask.post("/note")
    def note() -> str:
        """Read the body, and keep the name for GET /noted."""
        digest_of(request.stream.read)
        noted.append(request.args["name"])
        return "noted"

    @flask.get("/noted")
    def noted_names() -> list[str]:
        return noted

    @flask.post("/exit")
    def exit_in_the_middle() -> str:
        """As if the greenlet were killed, as it is when the worker can wait no longer."""
        request.stream.read(BLOCK_BYTES)
        raise gevent.GreenletExit

    @flask.post("/give-up")
    def give_up_in_the_middle() -> str:
        """Read for a tenth of a second."""
        with contextlib.suppress(gevent.Timeout), gevent.Timeout(0.1):
            digest_of(request.stream.read)
        abort(500, "Given up.")

    @flask.post("/slowly")
    def read_slowly() -> dict[str, Any]:
        """Be busy with something else behind each of the first blocks."""
        seconds, blocks = float(request.args["seconds"]), int(request.args["blocks"])
        received = 0
        for _ in range(blocks):
            received += len(request.stream.read(BLOCK_BYTES))
            gevent.sleep(seconds)
        return {"size": received + digest_of(request.stream.read)["size"]}

    @flask.post("/hold")
    def hold_the_loop() -> str:
        """Let nobody else run."""
        end = time.perf_counter() + float(request.args["seconds"])
        while time.perf_counter() < end:
            pass
        return "held"

    @flask.get("/statistics")
    def statistics() -> dict[str, int]:
        return upload_statistics()

    return flask


def make_handling_application() -> Flask:
    flask = make_flask_application(None)

    @flask.errorhandler(413)
    def too_large(error: Exception) -> tuple[dict[str, Any], int]:
        assert isinstance(error, BodyTooLarge)
        return described(error), 413

    return flask


flask_application = make_application()
handling_application = make_handling_application()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path.startswith("/plain"):
        return plain_application(environ, start_response)
    if path.startswith("/limited/"):
        environ["PATH_INFO"] = path.removeprefix("/limited")
        return limited_application(environ, start_response)
    if path.startswith("/handled/"):
        environ["PATH_INFO"] = path.removeprefix("/handled")
        return handling_application(environ, start_response)
    return flask_application(environ, start_response)
