"""Uploads: resumable uploads as one thing to mount in an application.

    uploads = Uploads(storage_for("file:///srv/files"), "sqlite:////srv/uploads.db", ready=notice)

It is a WSGI application; flask_blueprint and django_view give the same to those frameworks. A POST
to where it is mounted begins an upload, in the words of tus or of the IETF's protocol; below it
each upload has its address. What is to be done with an upload is up to the application, by hooks
and by the methods here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from werkzeug.wrappers import Response

from ..settings import UploadSettings
from ..storage import Content, Storage
from ..uploads import Hooks, Limits, Page, State, Upload, UploadService
from .cors import Cors
from .handling import Authorize, Handling
from .resumable import FinalAnswer, ResumableUploads
from .tus import Tus

_NO_LIMITS = Limits()


class Uploads:
    """The uploads of an application.

    storage: where their content lies.
    database: SQLAlchemy's URL of their state: SQLite for one machine, PostgreSQL for several.
    authorize: who may upload, asked with the request before a byte of its body: it returns the
        owner's name, or a Grant with what that owner may have; None, or any HTTPException that it
        raises, is a refusal. Without it everybody may begin uploads, and whoever has the address
        of one may go on with it.
    limits: what an owner may have for whom authorize says nothing else.
    received, ready, removed, first_bytes: what the application does at each step; see Hooks.
    answer: the response to the request that completes an upload by the IETF's protocol; None for
        one that says id, name and size. It is kept, for who did not hear it.
    cors: pages of which origins may upload.
    settings: None for those of the process.
    """

    def __init__(
        self,
        storage: Storage,
        database: str,
        *,
        authorize: Authorize | None = None,
        limits: Limits = _NO_LIMITS,
        first_bytes: Callable[..., Any] | None = None,
        received: Callable[..., Any] | None = None,
        ready: Callable[..., Any] | None = None,
        removed: Callable[..., Any] | None = None,
        answer: FinalAnswer | None = None,
        cors: Cors | None = None,
        settings: UploadSettings | None = None,
    ) -> None:
        hooks = Hooks(first_bytes=first_bytes, received=received, ready=ready, removed=removed)
        self._service = UploadService(storage, database, hooks=hooks, settings=settings)
        self._handling = Handling(
            [Tus(self._service), ResumableUploads(self._service, answer)],
            authorize,
            limits,
            cors or Cors(),
        )

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        id = environ.get("PATH_INFO", "").strip("/")
        return self.respond(environ, id or None)(environ, start_response)

    def respond(self, environ: dict[str, Any], id: str | None) -> Response:
        """The response to a request, for who has found out what its address names.

        id: what stands behind the address at which uploads begin; None for that address itself.
        """
        return self._handling.respond(environ, id)

    def status(self, id: str) -> Upload:
        """What is known of an upload. Raises NoSuchUpload, UploadGone."""
        return self._service.status(id)

    def open(self, id: str, start: int = 0, stop: int | None = None) -> Content:
        """Bytes of a ready upload. Raises NoSuchUpload, NotReadyYet."""
        return self._service.open(id, start, stop)

    def path(self, id: str) -> Path:
        """The file of a ready upload, where the storage is a folder and the upload one file.

        Raises NotImplementedError where it is not.
        """
        return self._service.path(id)

    def delete(self, id: str) -> None:
        """Take an upload away, whatever its state. One that is not there is left alone."""
        self._service.delete(id)

    def of_owner(
        self,
        owner: str,
        *,
        states: Sequence[State] = (State.READY,),
        after: str | None = None,
        most: int = 100,
    ) -> Page:
        """Some of an owner's uploads, newest first.

        after: what the page before says as its `next`.
        """
        return self._service.of_owner(owner, states=states, after=after, most=most)

    def close(self) -> None:
        """Stop what runs in the background. Uploads are left as they are."""
        self._service.close()
