"""tus 1.0.0, with its extensions: https://tus.io/protocols/resumable-upload.

Of the extensions all but concatenation-unfinished, and checksum-trailer where the server gives
trailers. Nothing but the wire format is here: a request's fields become a verb's arguments, and
what it returns becomes fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.wrappers import Response

from ..body import CooperativeInput
from ..exchange import TRAILERS
from ..uploads import Creation, Grant, Limits, NotReadyYet, Upload, UploadService
from .handling import Headers, Request, bare_response, location_of
from .problems import Problem, problem_of
from .tus_fields import (
    VERSION,
    checksum_algorithms,
    checksum_in,
    concatenation_in,
    length_in,
    metadata_in,
    shown,
    size_in,
    written_expiry,
    written_metadata,
)

CONTENT_TYPE = "application/offset+octet-stream"

_EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "termination",
    "concatenation",
)

# By which names clients tell a file's name and type, the first that is there: tus-js-client's
# examples and tuspy's, and Uppy's.
_NAME_KEYS = ("filename", "name")
_TYPE_KEYS = ("filetype", "type")


class Tus:
    """The protocol, over the verbs."""

    def __init__(self, service: UploadService) -> None:
        self._service = service

    def recognizes(self, request: Request) -> bool:
        """Those that name its version, and those that mean it and forgot to."""
        return bool(request.field("Tus-Resumable")) or _is_tus_content(request)

    def options(self, request: Request, limits: Limits) -> Headers:
        """Versions, extensions and limits."""
        with_trailers = TRAILERS in request.environ
        extensions = (*_EXTENSIONS, *(["checksum-trailer"] if with_trailers else []))
        headers = [
            ("Tus-Resumable", VERSION),
            ("Tus-Version", VERSION),
            ("Tus-Extension", ",".join(extensions)),
            ("Tus-Checksum-Algorithm", ",".join(checksum_algorithms())),
        ]
        if limits.upload_bytes is not None:
            headers.append(("Tus-Max-Size", str(limits.upload_bytes)))
        return headers

    def always(self, request: Request) -> Headers:
        """The version."""
        return [("Tus-Resumable", VERSION)]

    def answer(self, request: Request, grant: Grant, id: str | None) -> Response:
        """Do what is asked."""
        _check_version(request)
        if id is None:
            if request.method != "POST":
                raise MethodNotAllowed(["POST", "OPTIONS"])
            return self._create(request, grant)
        verbs: dict[str, Callable[[Request, Grant, str], Response]] = {
            "HEAD": self._head,
            "PATCH": self._patch,
            "DELETE": self._delete,
        }
        if request.method not in verbs:
            raise MethodNotAllowed([*verbs, "OPTIONS"])
        return verbs[request.method](request, grant, id)

    def _create(self, request: Request, grant: Grant) -> Response:
        concatenation = request.field("Upload-Concat")
        kind = concatenation_in(concatenation) if concatenation else None
        metadata = metadata_in(request.field("Upload-Metadata"))
        creation = Creation(
            owner=grant.owner,
            size=None if kind and kind.is_final else _declared_size(request),
            name=_first_of(metadata, _NAME_KEYS),
            content_type=_first_of(metadata, _TYPE_KEYS),
            metadata=metadata,
            partial=kind is not None and not kind.is_final,
            limits=grant.limits,
        )
        if kind is not None and kind.parts is not None:
            whole = self._service.concatenate(creation, kind.parts)
            return _created(request, whole, with_offset=whole.ready)
        body = request.body()
        if body.content_length != 0 and not _is_tus_content(request):
            raise _wrong_type(request)
        upload = self._service.create(creation)
        return self._first_bytes(request, grant, upload, body)

    def _first_bytes(
        self, request: Request, grant: Grant, upload: Upload, body: CooperativeInput
    ) -> Response:
        """What came with the creation; and all that comes, of an upload of nothing."""
        if body.content_length == 0 and upload.size != 0:
            return _created(request, upload)
        try:
            upload = self._service.append(
                upload.id, 0, body, checksum=_checksum(request), owner=grant.owner
            )
        except NotReadyYet:
            # Created it is. Without an offset the client asks for it, and waits until it is told.
            return _created(request, upload, with_offset=False)
        except HTTPException as error:  # the client goes on from where the upload is
            problem = problem_of(error)
            problem.headers.append(("Location", location_of(request, upload.id)))
            raise problem from None
        return _created(request, upload)

    def _head(self, request: Request, grant: Grant, id: str) -> Response:
        upload = self._service.settle(id, owner=grant.owner)
        headers = [*_position(upload), ("Cache-Control", "no-store")]
        if upload.size is None:
            headers.append(("Upload-Defer-Length", "1"))
        else:
            headers.append(("Upload-Length", str(upload.size)))
        if upload.metadata:
            headers.append(("Upload-Metadata", written_metadata(upload.metadata)))
        if upload.partial:
            headers.append(("Upload-Concat", "partial"))
        elif upload.parts:
            headers.append(("Upload-Concat", f"final;{' '.join(upload.parts)}"))
        return bare_response(200, headers)

    def _patch(self, request: Request, grant: Grant, id: str) -> Response:
        if not _is_tus_content(request):
            raise _wrong_type(request)
        offset = size_in(request.field("Upload-Offset"), "Upload-Offset")
        checksum = _checksum(request)
        body = request.body()
        length = request.field("Upload-Length")
        if length:  # of one that was deferred
            self._service.declare_size(id, length_in(length), owner=grant.owner)
        upload = self._service.append(id, offset, body, checksum=checksum, owner=grant.owner)
        return bare_response(204, _position(upload))

    def _delete(self, request: Request, grant: Grant, id: str) -> Response:
        self._service.cancel(id, owner=grant.owner)
        return bare_response(204)


def _check_version(request: Request) -> None:
    version = request.field("Tus-Resumable")
    if version != VERSION:
        raise Problem(
            412,
            "Another version of tus",
            f"Tus-Resumable is {shown(version)}, spoken is {VERSION}.",
            headers=[("Tus-Version", VERSION)],
        )


def _declared_size(request: Request) -> int | None:
    """Bytes of the whole; None for one that says so later."""
    length, deferred = request.field("Upload-Length"), request.field("Upload-Defer-Length")
    if bool(length) == bool(deferred) or deferred not in ("", "1"):
        raise Problem(
            400,
            "The size is not declared",
            f"One of Upload-Length and Upload-Defer-Length: 1 is needed, got "
            f"{shown(length)} and {shown(deferred)}.",
        )
    return length_in(length) if length else None


def _checksum(request: Request) -> Any:
    """The checksum of the body, as the verbs take it; None if the client gives none."""
    if field := request.field("Upload-Checksum"):
        return checksum_in(field)
    announced = [name.strip().lower() for name in request.field("Trailer").split(",")]
    if "upload-checksum" not in announced:
        return None
    trailers = request.environ.get(TRAILERS)
    if trailers is None:
        raise Problem(400, "No trailers", "This server can't read the trailer Upload-Checksum.")
    return lambda: checksum_in(trailers().get("upload-checksum", ""))


def _created(request: Request, upload: Upload, *, with_offset: bool = True) -> Response:
    headers = [("Location", location_of(request, upload.id))]
    if with_offset:
        headers += _position(upload)
    return bare_response(201, headers)


def _position(upload: Upload) -> Headers:
    headers = [("Upload-Offset", str(upload.offset))]
    if upload.expires is not None:
        headers.append(("Upload-Expires", written_expiry(upload.expires)))
    return headers


def _is_tus_content(request: Request) -> bool:
    return request.mimetype == CONTENT_TYPE


def _wrong_type(request: Request) -> Problem:
    return Problem(
        415,
        "The content is of another type",
        f"Expected is {CONTENT_TYPE}, got {shown(request.field('Content-Type'))}.",
    )


def _first_of(metadata: dict[str, str], keys: tuple[str, ...]) -> str | None:
    return next((metadata[key] for key in keys if metadata.get(key)), None)
