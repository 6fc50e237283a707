"""The application of the tests of resumable uploads: Flask, with the uploads at /files.

They lie where the server was started. A request says whose it is by X-Owner; who does not, is
"somebody".
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import gevent
from flask import Flask

from cooperative_upload import CooperativeUploadMiddleware, upload_statistics
from cooperative_upload.protocols import Request, Uploads
from cooperative_upload.protocols.flask_blueprint import uploads_blueprint
from cooperative_upload.storage import LocalStorage
from cooperative_upload.uploads import Limits, RefusedUpload, Upload

FOLDER = Path("files").absolute()
FOLDER.mkdir(exist_ok=True)
LIMIT = 1 << 30  # bytes of one upload

application = Flask(__name__)


def authorize(request: Request) -> str:
    return request.field("X-Owner") or "somebody"


def check(upload: Upload, open_content: Any) -> None:
    """By the name: one is refused, another takes as long as there is no file "go-on"."""
    if upload.name == "virus":
        raise RefusedUpload("It has a virus.")
    while upload.name == "slow" and not Path("go-on").exists():
        gevent.sleep(0.01)


uploads = Uploads(
    LocalStorage(FOLDER),
    "sqlite:///uploads.db",
    authorize=authorize,
    limits=Limits(upload_bytes=LIMIT),
    received=check,
)
wrapped = CooperativeUploadMiddleware(application)
application.register_blueprint(uploads_blueprint(uploads), url_prefix="/files")


@application.get("/ping")
def ping() -> str:
    return "pong"


@application.get("/pid")
def pid() -> str:
    return str(os.getpid())


@application.get("/statistics")
def statistics() -> dict[str, int]:
    return upload_statistics()


@application.get("/stored/<id>")
def stored(id: str) -> dict[str, Any]:
    """What the application has of a ready upload."""
    upload = uploads.status(id)
    digest = hashlib.sha256()
    with uploads.open(id) as content:
        for block in content.blocks():
            digest.update(block)
    return {
        "name": upload.name,
        "type": upload.content_type,
        "size": upload.size,
        "sha256": digest.hexdigest(),
    }
