"""A small Flask application that receives uploads: the demo page, and what the load test measures.

    gunicorn -k cooperative_upload.Worker examples.demo:app

Nothing in it knows about the worker: it is what any Flask application does.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import IO

from flask import Flask, Response, abort, jsonify, request

BLOCK = 64 * 1024  # bytes per read

app = Flask(__name__)


@app.get("/")
def page() -> Response:
    """The demo: a file to upload, and the latency of small requests meanwhile."""
    return Response(Path(__file__).with_name("demo.html").read_bytes(), mimetype="text/html")


@app.get("/ping")
def ping() -> str:
    """The small request that must not wait for anybody's upload."""
    return "pong"


@app.post("/upload")
def upload() -> Response:
    """Receive the files of a form's field `file`; say how large they are."""
    streams = [file.stream for file in request.files.getlist("file")]
    if not streams:
        abort(400, "the form has no file in its field `file`")
    answer: dict[str, object] = {"size": sum(stream.seek(0, os.SEEK_END) for stream in streams)}
    if "sha256" in request.args:
        answer["sha256"] = _sha256(streams)
    return jsonify(answer)


@app.post("/refuse")
def refuse() -> tuple[str, int]:
    """Say no without a look at the body, as an application does to who is not logged in."""
    return "log in first", 401


@app.put("/raw")
def raw() -> Response:
    """Receive a body that is no form, block by block, and count it."""
    size, digest = 0, hashlib.sha256()
    while block := request.stream.read(BLOCK):
        size += len(block)
        if "sha256" in request.args:
            digest.update(block)
    answer: dict[str, object] = {"size": size}
    if "sha256" in request.args:
        answer["sha256"] = digest.hexdigest()
    return jsonify(answer)


def _sha256(streams: list[IO[bytes]]) -> str:
    digest = hashlib.sha256()
    for stream in streams:
        stream.seek(0)
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
