"""Resumable uploads as a Flask blueprint.

    app.register_blueprint(uploads_blueprint(uploads), url_prefix="/files")

authorize() is asked within Flask's own request: flask.session, flask.g and the extensions that
know who is logged in are at hand there.
"""

from __future__ import annotations

from flask import Blueprint, request
from werkzeug.wrappers import Response

from .application import Uploads
from .cors import METHODS


def uploads_blueprint(uploads: Uploads, name: str = "uploads") -> Blueprint:
    """A blueprint with the addresses of these uploads.

    name: the blueprint's; its endpoint for url_for() is `<name>.upload`, with the argument `id` or
        without.
    """
    blueprint = Blueprint(name, __name__)

    def upload(id: str | None = None) -> Response:
        return uploads.respond(request.environ, id)

    for rule in ("", "/", "/<id>"):
        blueprint.add_url_rule(
            rule,
            "upload",
            upload,
            methods=METHODS,
            provide_automatic_options=False,
        )
    return blueprint
