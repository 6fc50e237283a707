"""The applications that the live servers run. They know nothing of cooperative_upload.

`application` serves Flask at /, Flask with MAX_CONTENT_LENGTH at /limited and WSGI code without
a framework at /plain. What they answer is described in http_client.py.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from flask import Flask, Response, request
from gevent import get_hub
from gevent.event import Event

BLOCK_BYTES = 64 * 1024
LIMIT_BYTES = 1 << 40  # far above every body: what matters is that there is one


going_on: defaultdict[str, Event] = defaultdict(Event)


def digest_of(read: Callable[[int], bytes], size: int = BLOCK_BYTES) -> dict[str, Any]:
    """Read to the end in blocks of `size` bytes."""
    digest = hashlib.sha256()
    received = 0
    while data := read(size):
        digest.update(data)
        received += len(data)
    return {"size": received, "sha256": digest.hexdigest()}


def make_flask_application(max_content_length: int | None) -> Flask:
    flask = Flask(__name__)
    flask.config["MAX_CONTENT_LENGTH"] = max_content_length
    flask.config["MAX_FORM_MEMORY_SIZE"] = None

    @flask.get("/ping")
    def ping() -> str:
        return "pong"

    @flask.get("/pid")
    def pid() -> str:
        return str(os.getpid())

    @flask.get("/loop")
    def loop() -> str:
        return type(get_hub().loop).__module__

    @flask.post("/form")
    def describe_form() -> dict[str, Any]:
        files = []
        for name, file in request.files.items(multi=True):
            found = digest_of(file.stream.read)
            files.append([name, file.filename, found["size"], found["sha256"]])
        return {"fields": list(request.form.items(multi=True)), "files": files}

    @flask.post("/sizes")
    def sizes_of_files() -> list[int]:
        return [file.stream.seek(0, os.SEEK_END) for file in request.files.values()]

    @flask.post("/files")
    def number_of_files() -> dict[str, int]:
        return {"files": len(request.files)}

    @flask.post("/fields")
    def number_of_fields() -> dict[str, int]:
        return {"fields": len(request.form)}

    @flask.post("/json")
    def length_of_json() -> dict[str, int]:
        return {"length": len(request.get_json())}

    @flask.post("/parts")
    def number_of_parts() -> dict[str, int]:
        """Also of a form of very many."""
        request.max_form_parts = 1_000_000
        return {"fields": len(request.form), "files": len(request.files)}

    @flask.post("/little-memory")
    def number_of_small_fields() -> dict[str, int]:
        request.max_form_memory_size = 500_000
        return {"fields": len(request.form)}

    @flask.post("/stream")
    def describe_stream() -> dict[str, Any]:
        return digest_of(request.stream.read, int(request.args.get("read", BLOCK_BYTES)))

    @flask.post("/stream/in-two-parts")
    def describe_stream_with_a_pause() -> dict[str, Any]:
        """Wait for POST /go-on behind the first block."""
        first = request.stream.read(BLOCK_BYTES)
        going_on[request.args["name"]].wait()
        return digest_of_all(itertools.chain([first], iter(read_block, b"")))

    def read_block() -> bytes:
        return request.stream.read(BLOCK_BYTES)

    @flask.post("/go-on")
    def go_on() -> str:
        going_on[request.args["name"]].set()
        return "going on"

    @flask.route("/data", methods=["GET", "POST", "PUT"])
    def describe_data() -> dict[str, Any]:
        data = request.get_data()
        return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    @flask.post("/size")
    def size_of_data() -> dict[str, int]:
        return {"size": len(request.get_data())}

    @flask.post("/swallow")
    def swallow() -> dict[str, int]:
        """Read to the end and keep nothing."""
        received = 0
        while data := request.stream.read(BLOCK_BYTES):
            received += len(data)
        return {"size": received}

    @flask.post("/unread")
    def leave_unread() -> str:
        return "unread"

    @flask.post("/some")
    def read_some() -> str:
        return str(len(request.stream.read(int(request.args["bytes"]))))

    @flask.post("/save")
    def save_file() -> str:
        request.files["file"].save(request.args["to"])
        return "saved"

    @flask.post("/make")
    def make_file() -> str:
        with open(request.args["to"], "wb"):
            return "made"

    @flask.post("/raise")
    def raise_after_parsing() -> str:
        raise RuntimeError(f"after {len(request.files)} files")

    @flask.post("/one-part")
    def refuse_a_second_part() -> str:
        request.max_form_parts = 1
        return str(len(request.files))

    return flask


def plain_application(
    environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    """Reads the body by the method that the query names; lets every error through."""
    query = parse_qs(environ["QUERY_STRING"])
    if environ["PATH_INFO"] == "/plain/begun":
        start_response("200 OK", [("Content-Type", "text/plain")])(b"begun\n")
    body = environ["wsgi.input"]
    size = int(query["size"][0]) if "size" in query else BLOCK_BYTES
    found = _READERS[query.get("method", ["read"])[0]](body, size)
    answer = json.dumps(found).encode()
    if environ["PATH_INFO"] != "/plain/begun":
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))]
        start_response("200 OK", headers)
    return [answer]


def digest_of_all(pieces: Iterable[bytes]) -> dict[str, Any]:
    iterator = iter(pieces)
    return digest_of(lambda size: next(iterator, b""))


_READERS: dict[str, Callable[[Any, int], dict[str, Any]]] = {
    "read": lambda body, size: digest_of(body.read, size),
    "read-all": lambda body, size: digest_of_all([body.read()]),
    "readline": lambda body, size: digest_of(body.readline, size),
    "readlines": lambda body, size: digest_of_all(body.readlines()),
    "iterate": lambda body, size: digest_of_all(body),
}

flask_application = make_flask_application(None)
limited_application = make_flask_application(LIMIT_BYTES)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path.startswith("/plain"):
        return plain_application(environ, start_response)
    if path.startswith("/limited/"):
        environ["PATH_INFO"] = path.removeprefix("/limited")
        return limited_application(environ, start_response)
    return flask_application(environ, start_response)


def report_stream_factory(
    environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    """Answers with the module and the name of werkzeug's default stream factory."""
    import werkzeug.formparser

    factory = werkzeug.formparser.default_stream_factory
    answer = f"{factory.__module__} {type(factory(None, None, None)).__name__}".encode()
    return Response(answer)(environ, start_response)


def report_settings(
    environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    """Answers with the slice_ms of what gives no settings: here, and in a greenlet of its own."""
    import gevent

    from cooperative_upload import CooperativeInput, Spool

    def found() -> list[float]:
        with Spool() as spool:
            return [spool._settings.slice_ms, CooperativeInput(spool, 0).settings.slice_ms]

    answer = json.dumps(found() + gevent.spawn(found).get()).encode()
    return Response(answer)(environ, start_response)
