"""Uploads that go on to a storage while they come: a disk, S3 or Swift, by a URL.

    STORAGE_URL=s3://bucket gunicorn -k cooperative_upload.Worker examples.storage_server:app
    curl -T large.iso http://127.0.0.1:8000/objects/large.iso
    curl -O http://127.0.0.1:8000/objects/large.iso

Nothing of an upload lies on this machine but the parts that are on their way. The object appears
when all of the body has arrived, and not at all if it breaks off.
"""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask, Response, jsonify, request

from cooperative_upload import receive
from cooperative_upload.storage import Storage, storage_for

app = Flask(__name__)


def make_storage() -> Storage:
    """That of STORAGE_URL, or else a folder here."""
    if url := os.environ.get("STORAGE_URL"):
        return storage_for(url)
    folder = Path("uploads").absolute()
    folder.mkdir(exist_ok=True)
    return storage_for(folder.as_uri())


storage = make_storage()


@app.get("/ping")
def ping() -> str:
    """A small request that must not wait for anybody's upload."""
    return "pong"


@app.put("/objects/<path:name>")
def store(name: str) -> Response:
    """The body as an object, in the place of one that was there."""
    received = receive(request, storage.object(name, overwrite=True))
    return jsonify({"name": name, "size": received.size})


@app.get("/objects/<path:name>")
def load(name: str) -> Response:
    """The object; 404 if there is none."""
    stored = storage.stat(name)
    content = storage.open(name)
    response = Response(content.blocks(), content_type=stored.content_type)
    response.content_length = content.size
    response.call_on_close(content.close)
    return response
