"""The IETF's resumable uploads (draft-ietf-httpbis-resumable-upload), in all its dialects.

Any request with a body and Upload-Complete begins an upload; what the drafts differ in is in
dialects.py. Interim responses that tell how far an upload is are not sent: the draft has them as
an offer, and no client that was tried asks for them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.http import parse_options_header
from werkzeug.wrappers import Response

from ..body import CooperativeInput
from ..errors import DigestMismatch
from ..exchange import SEND_INTERIM
from ..forms import announced_digests
from ..uploads import (
    Answer,
    ChecksumMismatch,
    Creation,
    Grant,
    InconsistentLength,
    LargerThanDeclared,
    Limits,
    NotAppendable,
    RefusedUpload,
    State,
    Upload,
    UploadService,
)
from .dialects import INTEROP_FIELD, Dialect, dialect_of
from .handling import Headers, Request, bare_response, location_of
from .problems import COMPLETED_UPLOAD, Problem, problem_of
from .structured_fields import boolean, integer, written_boolean, written_dictionary
from .tus_fields import shown

CONTENT_TYPE = "application/partial-upload"

# What an application answers when an upload is complete; it is kept, and given again to who did
# not hear it.
FinalAnswer = Callable[[Upload], Response]


class ResumableUploads:
    """The protocol, over the verbs.

    answer: the application's response to a whole upload; None for one that says id, name and size.
    """

    def __init__(self, service: UploadService, answer: FinalAnswer | None = None) -> None:
        self._service = service
        self._answer = answer

    def recognizes(self, request: Request) -> bool:
        """Those that begin an upload or go on with one by this protocol's fields."""
        return bool(
            request.field("Upload-Complete")
            or request.field(INTEROP_FIELD)
            or request.mimetype == CONTENT_TYPE
        )

    def options(self, request: Request, limits: Limits) -> Headers:
        """What it takes, and limits."""
        limit = _limit(dialect_of(request.field(INTEROP_FIELD)), limits, None)
        return [("Accept-Patch", CONTENT_TYPE), ("Upload-Limit", limit)]

    def always(self, request: Request) -> Headers:
        """The dialect, where it has a number."""
        dialect = dialect_of(request.field(INTEROP_FIELD))
        return [] if dialect.interop is None else [(INTEROP_FIELD, str(dialect.interop))]

    def answer(self, request: Request, grant: Grant, id: str | None) -> Response:
        """Do what is asked."""
        dialect = dialect_of(request.field(INTEROP_FIELD))
        try:
            if id is None:
                return self._create(request, grant, dialect)
            if request.method in ("HEAD", "GET"):
                return self._offset(id, grant, dialect)
            if request.method == "PATCH":
                return self._append(request, grant, id, dialect)
            if request.method == "DELETE":
                self._service.cancel(id, owner=grant.owner)
                return bare_response(204)
        except HTTPException as error:
            raise _with_completeness(error) from None
        raise MethodNotAllowed(["HEAD", "GET", "PATCH", "DELETE", "OPTIONS"])

    def _create(self, request: Request, grant: Grant, dialect: Dialect) -> Response:
        complete = boolean(request.field("Upload-Complete"))
        if complete is None:
            raise Problem(
                400,
                "No resumable upload",
                f"Upload-Complete has to be ?0 or ?1, got "
                f"{shown(request.field('Upload-Complete'))}.",
            )
        body = request.body()
        creation = Creation(
            owner=grant.owner,
            size=_size(request, 0, complete, body.content_length),
            name=_name_in(request.field("Content-Disposition")),
            content_type=request.field("Content-Type") or None,
            digests=_digests_of_the_whole(request, complete),
            limits=grant.limits,
        )
        upload = self._service.create(creation)
        location = [
            ("Location", location_of(request, upload.id)),
            ("Upload-Limit", _limit(dialect, grant.limits, upload)),
        ]
        if dialect.announces and SEND_INTERIM in request.environ:
            headers = [*location, (INTEROP_FIELD, str(dialect.interop))]
            request.environ[SEND_INTERIM](104, "Upload Resumption Supported", headers)
        try:
            checksum = None if complete else _digest_of_content(request)
            upload = self._append_body(upload.id, 0, body, complete, checksum, grant)
        except HTTPException as error:  # the client goes on from where the upload is
            problem = problem_of(error)
            problem.headers += location
            raise problem from None
        if complete:
            return self._final_answer(upload)
        return bare_response(201, [*location, *_position(upload)])

    def _append(self, request: Request, grant: Grant, id: str, dialect: Dialect) -> Response:
        if request.mimetype != CONTENT_TYPE:
            raise Problem(
                415,
                "The content is of another type",
                f"Expected is {CONTENT_TYPE}, got {shown(request.field('Content-Type'))}.",
                headers=[("Accept-Patch", CONTENT_TYPE)],
            )
        offset = integer(request.field("Upload-Offset"))
        complete = boolean(request.field("Upload-Complete"))
        if complete is None and dialect.absent_is_complete:
            complete = True
        if offset is None or complete is None:
            raise Problem(
                400,
                "The request does not say what it brings",
                f"Upload-Offset is {shown(request.field('Upload-Offset'))}, Upload-Complete "
                f"{shown(request.field('Upload-Complete'))}.",
            )
        body = request.body()
        size = _size(request, offset, complete, body.content_length)
        if size is not None and request.field("Upload-Length"):
            self._service.declare_size(id, size, owner=grant.owner)
        checksum = _digest_of_content(request)
        upload = self._append_body(id, offset, body, complete, checksum, grant)
        if complete:
            return self._final_answer(upload)
        return bare_response(204, _position(upload))

    def _append_body(
        self,
        id: str,
        offset: int,
        body: CooperativeInput,
        complete: bool,
        checksum: tuple[str, bytes] | None,
        grant: Grant,
    ) -> Upload:
        try:
            return self._service.append(
                id, offset, body, last=complete, checksum=checksum, owner=grant.owner
            )
        except ChecksumMismatch as error:
            raise DigestMismatch(error.algorithm, error.announced, error.computed) from error
        except LargerThanDeclared as error:
            # "marking the upload resource invalid and rejecting any further interaction with it"
            self._service.refuse(id, error.description or "", 400)
            raise InconsistentLength(error.declared, error.provided) from error
        except NotAppendable as error:
            raise Problem(
                400,
                "The upload is complete already",
                error.description or "",
                kind=COMPLETED_UPLOAD,
            ) from error

    def _offset(self, id: str, grant: Grant, dialect: Dialect) -> Response:
        upload = self._service.settle(id, owner=grant.owner)
        headers = [
            *_position(upload),
            ("Upload-Limit", _limit(dialect, grant.limits, upload)),
            ("Cache-Control", "no-store"),
        ]
        if upload.size is not None:
            headers.append(("Upload-Length", str(upload.size)))
        return bare_response(204, headers)

    def _final_answer(self, upload: Upload) -> Response:
        """The application's, the same for each who asks."""
        answer = upload.answer or self._make_answer(upload)
        response = Response(answer.body, answer.status, headers=list(answer.headers))
        response.headers["Upload-Complete"] = written_boolean(True)
        response.headers["Upload-Offset"] = str(upload.offset)
        return response

    def _make_answer(self, upload: Upload) -> Answer:
        if self._answer is None:
            return _default_answer(upload)
        response = self._answer(upload)
        answer = Answer(
            response.status_code,
            tuple((name, value) for name, value in response.headers if name != "Content-Length"),
            response.get_data(as_text=True),
        )
        self._service.remember_answer(upload.id, answer)
        return self._service.status(upload.id).answer or answer  # the first, if two were made


def _default_answer(upload: Upload) -> Answer:
    told = {"id": upload.id, "name": upload.name, "size": upload.size}
    return Answer(200, (("Content-Type", "application/json"),), json.dumps(told))


def _size(request: Request, offset: int, complete: bool, content_length: int | None) -> int | None:
    """Bytes of the whole as far as the request says them. Raises InconsistentLength."""
    declared = integer(request.field("Upload-Length"))
    if not complete or content_length is None:
        return declared
    ends_at = offset + content_length
    if declared is not None and declared != ends_at:
        raise InconsistentLength(declared, ends_at)
    return ends_at


def _digests_of_the_whole(request: Request, complete: bool) -> dict[str, bytes]:
    """Repr-Digest; and Content-Digest where the content is the whole (RFC 9530 section 3)."""
    names = ["HTTP_REPR_DIGEST", *(["HTTP_CONTENT_DIGEST"] if complete else [])]
    return dict(announced_digests(_only(request, names)))


def _digest_of_content(request: Request) -> tuple[str, bytes] | None:
    """The first of Content-Digest that can be computed here.

    With it nothing of a body that breaks off is kept, since nobody knows whether that is right.
    """
    return next(iter(announced_digests(_only(request, ["HTTP_CONTENT_DIGEST"]))), None)


def _only(request: Request, names: list[str]) -> dict[str, str]:
    return {name: request.environ.get(name, "") for name in names}


def _name_in(content_disposition: str) -> str | None:
    """The file's name, in Unicode where the client wrote it so (RFC 6266)."""
    return parse_options_header(content_disposition)[1].get("filename")


def _position(upload: Upload) -> Headers:
    return [
        ("Upload-Offset", str(upload.offset)),
        ("Upload-Complete", written_boolean(upload.ready)),
    ]


def _limit(dialect: Dialect, limits: Limits, upload: Upload | None) -> str:
    """Upload-Limit. It has to be there, so where there is no limit it says so."""
    members = {}
    if limits.upload_bytes is not None:
        members["max-size"] = limits.upload_bytes
    if upload is not None and upload.expires is not None and upload.state is State.OPEN:
        members[dialect.age] = max(0, int(upload.expires - time.time()))
    return written_dictionary(members or {"min-size": 0})


def _with_completeness(error: HTTPException) -> Problem:
    """?1: resuming helps nothing, for all bytes were there; ?0: the transfer failed."""
    problem = problem_of(error)
    refused = isinstance(problem.cause, RefusedUpload)
    problem.headers.append(("Upload-Complete", written_boolean(refused)))
    return problem
