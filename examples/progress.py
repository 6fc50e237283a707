"""An upload with a progress bar that tells what the server has received.

    gunicorn -k cooperative_upload.Worker examples.progress:app

The page (progress.html beside this file) chooses an id, sends it along with the upload in the
header X-Progress-ID and follows by it, at /progress, how far the upload is. Which of the server's
workers receives it makes no difference, nor does what sends it: fetch() here, which tells a page
nothing of its own progress; a form without a script, or curl, could be followed in the same way.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from cooperative_upload import UploadProgress

app = Flask(__name__)
app.wsgi_app = DispatcherMiddleware(  # type: ignore[method-assign]
    app.wsgi_app, {"/progress": UploadProgress()}
)


@app.get("/")
def page() -> Response:
    """The form, and the script that shows the progress."""
    return Response(Path(__file__).with_name("progress.html").read_bytes(), mimetype="text/html")


@app.post("/upload")
def upload() -> dict[str, Any]:
    """Receive the file of the form; file.save(path) would keep it."""
    file = request.files["file"]
    return {"name": file.filename, "size": file.stream.seek(0, os.SEEK_END)}
