"""Uploads to a store in the usual way: a temporary file first, then boto3's upload_fileobj.

    gunicorn -k gevent naive_storage:app

STORAGE_URL is the bucket, or a folder as file:///path. The file is what werkzeug's form parser
makes for a large part of a form.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from flask import Flask, Response, jsonify, request
from werkzeug.formparser import default_stream_factory

BLOCK = 64 * 1024
PLACE = urlsplit(os.environ.get("STORAGE_URL", "file:///tmp"))

app = Flask(__name__)


def make_client() -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client("s3", config=Config(max_pool_connections=320))


client = make_client() if PLACE.scheme == "s3" else None


@app.get("/ping")
def ping() -> str:
    return "pong"


@app.put("/objects/<name>")
def store(name: str) -> Response:
    with default_stream_factory(request.content_length, None, None) as file:
        while block := request.stream.read(BLOCK):
            file.write(block)
        size = file.tell()
        file.seek(0)
        put(name, file)
    return jsonify({"size": size})


def put(name: str, file: IO[bytes]) -> None:
    if client is None:
        with (Path(unquote(PLACE.path)) / name).open("wb") as target:
            shutil.copyfileobj(file, target)
        return
    client.upload_fileobj(file, PLACE.netloc, f"{PLACE.path.strip('/')}/{name}".lstrip("/"))
