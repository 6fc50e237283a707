"""Who may upload, and how much: decided before a byte of the body is sent.

    gunicorn -k cooperative_upload.Worker examples.authorization:app
    curl -i -T large.iso -H 'Authorization: Bearer alice' http://127.0.0.1:8000/files/large.iso

A client that waits for "100 Continue" (curl does) is told to send when the view reads, and not
before. So whatever answers before that refuses the upload at no cost: this before_request, a
decorator, a middleware. A client that sends at once gets the same answer, and what it has sent is
thrown away.
"""

from __future__ import annotations

from pathlib import Path

from flask import Flask, Response, abort, g, request
from werkzeug.utils import secure_filename

from cooperative_upload import Spool

app = Flask(__name__)

DIRECTORY = Path("uploads").absolute()
DIRECTORY.mkdir(exist_ok=True)
LARGEST = 10 * 1000**3  # bytes
QUOTA = {"alice": 25 * 1000**3, "bob": 0}  # bytes that each may still store


@app.before_request
def allow_the_upload() -> None:
    """401 without a token that is known, 411 without a length, 413 for too much."""
    token = request.authorization.token if request.authorization else None
    if token is None or token not in QUOTA:
        abort(401, "This server needs a token: Authorization: Bearer ...")
    if request.content_length is None:
        abort(411, "This server needs to know the size before: Content-Length.")
    if request.content_length > LARGEST:
        abort(413, f"A file may have {LARGEST:,} bytes here.")
    if request.content_length > QUOTA[token]:
        abort(413, f"You may store {QUOTA[token]:,} bytes more.")
    g.user = token


@app.put("/files/<name>")
def store(name: str) -> Response:
    """The body as a file: whole or not at all."""
    path = DIRECTORY / (secure_filename(name) or abort(400, "This is no name for a file."))
    size = request.content_length or 0
    QUOTA[g.user] -= size  # before it comes, or two uploads at once could have it twice
    try:
        with Spool() as spool:
            while block := request.stream.read(64 * 1024):
                spool.write(block)
            spool.seek(0)
            spool.move_to(path)
    except BaseException:  # a client that goes away, a full disk, a worker that is stopped
        QUOTA[g.user] += size
        raise
    return Response(f"{size:,} bytes stored\n", status=201)
