"""A small upload server: files to any path below a directory, many at once, streamed to disk.

    gunicorn -k cooperative_upload.Worker examples.upload_server:app
    curl -T large.iso http://127.0.0.1:8000/backups/large.iso
    curl -F file=@a.txt -F file=@b.txt http://127.0.0.1:8000/notes/

Nothing of a file is in memory but a few blocks, and each appears whole or not at all. A client
that sends Content-Digest, Repr-Digest or Content-MD5 has it checked; ?sha256=1 has one computed.
A part of a file (curl -C) is refused: it would replace the whole one. Whoever reaches this server
may store files in its directory: examples/authorization.py shows how to ask for a token first.

UPLOAD_ROOT is the directory, by default ./uploads. With UPLOAD_FSYNC=0 the answer does not wait
until a file is on the medium.
"""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask, Response, jsonify, request

from cooperative_upload import Received, UnsafePath, path_below, receive, stream_parts

app = Flask(__name__)

ROOT = Path(os.environ.get("UPLOAD_ROOT", "uploads")).absolute()
ROOT.mkdir(parents=True, exist_ok=True)
FSYNC = os.environ.get("UPLOAD_FSYNC", "1") != "0"


@app.get("/ping")
def ping() -> str:
    """A small request, to ask how the server feels."""
    return "pong"


@app.errorhandler(FileExistsError)
@app.errorhandler(IsADirectoryError)
@app.errorhandler(NotADirectoryError)
def name_is_taken(error: OSError) -> tuple[str, int]:
    """A directory where a file should go, or a file where a directory should be."""
    return "There is something else of this name.\n", 409


@app.put("/<path:name>")
def store(name: str) -> tuple[Response, int]:
    """The body as one file."""
    path = path_below(ROOT, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return jsonify(_described(receive(request, path, digests=_digests(), fsync=FSYNC))), 201


@app.post("/", defaults={"name": ""})
@app.post("/<path:name>/")
def store_form(name: str) -> tuple[Response, int]:
    """Each file of a form, by its own name, in this directory."""
    directory = path_below(ROOT, name) if name else ROOT
    directory.mkdir(parents=True, exist_ok=True)
    stored = []
    for part in stream_parts(request):
        if part.filename is None:
            continue  # another field of the form
        if "/" in part.filename:
            raise UnsafePath(
                f"A file of a form has a name without slashes, not {part.filename!r}."
            )
        path = path_below(directory, part.filename)
        stored.append(_described(part.save_to(path, digests=_digests(), fsync=FSYNC)))
    return jsonify(files=stored), 201


def _digests() -> list[str]:
    return ["sha-256"] if "sha256" in request.args else []


def _described(received: Received) -> dict[str, str | int]:
    path = str(Path(received.path).relative_to(ROOT))
    described: dict[str, str | int] = {"path": path, "size": received.size}
    if digest := received.digests.get("sha-256"):
        described["sha256"] = digest.hex()
    return described
