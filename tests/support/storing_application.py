"""A Flask application that stores what it is sent, in the storage of the variable STORAGE_URL."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, Response, request

from cooperative_upload import receive, save_to, stream_parts
from cooperative_upload.flask_ext import CooperativeUpload
from cooperative_upload.storage import Stored, storage_for

storage = storage_for(os.environ["STORAGE_URL"])

application = Flask(__name__)


def key_for(filename: str) -> str | None:
    """Files of one form go to the storage as they come; those of the others do not."""
    return f"forms/{filename}" if request.endpoint == "store_form_file" else None


CooperativeUpload(application, stream_factory=storage.form_files(key_for, digests=["sha-256"]))


def described(stored: Stored) -> dict[str, Any]:
    return {"key": stored.key, "size": stored.size, "type": stored.content_type}


@application.get("/ping")
def ping() -> str:
    return "pong"


@application.get("/pid")
def pid() -> str:
    return str(os.getpid())


@application.put("/body/<path:key>")
def store_body(key: str) -> dict[str, Any]:
    overwrite = "overwrite" in request.args
    received = receive(request, storage.object(key, overwrite=overwrite), digests=["sha-256"])
    return {
        "key": received.path,
        "etag": received.etag,
        "digest": received.digests["sha-256"].hex(),
    }


@application.post("/parts")
def store_parts() -> list[Any]:
    return [
        part.save_to(storage.object(f"parts/{part.filename}")).path
        for part in stream_parts(request)
        if part.filename
    ]


@application.post("/parsed")
def store_parsed() -> dict[str, Any]:
    file = request.files["file"]
    received = save_to(file, storage.object(f"parsed/{file.filename}"))
    return described(storage.stat(received.path))


@application.post("/form")
def store_form_file() -> dict[str, Any]:
    """As in any application, but for one line."""
    file: Any = request.files["file"].stream
    if request.form.get("keep") == "yes":
        return {**described(file.commit()), "digest": file.digests()["sha-256"].hex()}
    return {"key": None}


@application.get("/objects/<path:key>")
def send(key: str) -> Response:
    content = storage.open(key)
    response = Response(content.blocks(), mimetype="application/octet-stream")
    response.call_on_close(content.close)
    return response


@application.get("/list")
def list_keys() -> list[str]:
    return [stored.key for stored in storage.list()]
