"""Bodies and parts of forms as they come, for applications that need no temporary file.

receive() stores a raw body, stream_parts() gives the parts of a multipart body one after the
other; neither holds more than a few blocks in memory. What is stored is whole or not at all: it
gets its name when all of it is there, its digests are right and it is on the disk. save_to() does
the same with a file of a form that was parsed already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from werkzeug.datastructures import ContentRange, FileStorage, Headers
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.http import parse_content_range_header, parse_options_header
from werkzeug.sansio.multipart import (
    Data,
    Epilogue,
    Event,
    Field,
    File,
    NeedData,
)

from ..body import (
    BLOCK_BYTES,
    MOST_AT_ONCE,
    BlockReader,
    CooperativeInput,
    settings_of_body,
    take_body,
)
from ..errors import BodyTooLarge, DigestMismatch, MalformedBody, PartHeadersTooLarge, PartialBody
from ..settings import UploadSettings
from ..settings_in_force import settings_in_force
from ..turns import current_scheduler
from .destinations import Destination, Kept, OpenDeposit, Target, destination_for
from .digests import Digests, announced_digests
from .hashing import Hashing
from .multipart import BlockMultipartDecoder, LimitedMultipartDecoder, is_supported

_DECODER = BlockMultipartDecoder if is_supported() else LimitedMultipartDecoder

# What werkzeug's decoder holds at the most of what is no content; its own default for a form.
_MOST_HELD_BYTES = 500_000


# What a field's text may have at the most if nobody says more.
_MOST_TEXT_BYTES = 64 * 1024


class HasEnviron(Protocol):
    """A request of werkzeug or Flask, or of any other framework that keeps the WSGI environ."""

    @property
    def environ(self) -> dict[str, Any]:
        """The WSGI environ."""


Request = HasEnviron | dict[str, Any]


@dataclass(frozen=True)
class Received:
    """What was stored.

    path: of the file, or the key of a storage's object.
    size: bytes.
    digests: by their names in RFC 9530, those that were asked for and those that the client
        announced.
    content_range: which bytes of a larger file they are (werkzeug's ContentRange, whose stop is
        the byte behind the last one); None for a whole file.
    etag: what a storage has for telling two versions apart; None for a file.
    """

    path: str
    size: int
    digests: dict[str, bytes]
    content_range: ContentRange | None = None
    etag: str | None = None


def receive(
    request: Request,
    target: Target,
    *,
    digests: Iterable[str] = (),
    fsync: bool = True,
    accept_range: bool = False,
    settings: UploadSettings | None = None,
) -> Received:
    """Store the body of a request, of any length and framing, as the file or object `target`.

    It appears whole or not at all, and an existing one stays until then. What can be known to be
    wrong is raised before the client is asked for the body.

    target: a path, or a Destination, which storage.object("key") makes.
    digests: what to compute on the way: sha-256, sha-512, sha, md5, crc32c (which needs the
        package google-crc32c).
    fsync: return only when the content and the name of a file are on the medium; a storage has
        a setting for that.
    accept_range: for an application that puts files together from their parts, each in a target
        of its own: a body with a Content-Range is stored too, and the result says which bytes it
        is. Otherwise it is a PartialBody, a 400 (RFC 9110 section 14.5).
    Raises a BodyError for a body that breaks off, DigestMismatch for one that is not what the
    client announced (Content-Digest, Repr-Digest, Content-MD5), StorageError where there is no
    room, AlreadyStored for an object that is there and may not be replaced, OSError for a target
    that can't be written (no such directory, a directory in its place, no permission), and
    BodyAlreadyRead if the application read of the body before. A request's max_content_length
    (MAX_CONTENT_LENGTH in Flask) holds here too: more is a BodyTooLarge.
    """
    environ = _environ(request)
    settings = settings or settings_of_body(environ)
    content_range = _content_range(environ, accept_range)
    body = take_body(request, environ, settings, "receive()")
    _limit_as_asked(body, request)
    if content_range is not None:  # Repr-Digest is that of the whole file (RFC 9530 section 3)
        environ = {**environ, "HTTP_REPR_DIGEST": ""}
    announced = announced_digests(environ)
    names = dict.fromkeys([*digests, *(name for name, _ in announced)])
    hashing = Hashing(names, settings)
    destination = destination_for(target, settings, fsync=fsync)
    media_type = _media_type(environ)
    with destination.deposit(size=body.content_length, content_type=media_type) as deposit:
        size = _copy(body.blocks(MOST_AT_ONCE), deposit, hashing)
        computed = hashing.finished()
        try:
            _check_size(size, content_range)
            computed.check(announced)
        except (DigestMismatch, MalformedBody) as error:
            raise body.rejected(error) from None
        kept = deposit.commit(computed.values())
    return _received(kept, size, computed, content_range)


class Part(BlockReader):
    """One part of a multipart body, to be read before the next one is asked for.

    name: of the form's field.
    filename: as the client gave it (see path_below() for making a path of it); None for a field.
    headers: all headers of the part.

    read, readline and iteration over lines are those of a binary file; read(n) returns exactly n
    bytes unless the part ends. blocks() gives the content as it comes.
    """

    def __init__(
        self,
        event: Field | File,
        parts: _Parts,
        settings: UploadSettings,
        most_text: int | None = None,
    ) -> None:
        super().__init__(read_ahead=0)
        self.name = event.name
        self.filename = event.filename if isinstance(event, File) else None
        self.headers: Headers = event.headers
        self._parts = parts
        self._settings = settings
        self._most_text = _MOST_TEXT_BYTES if most_text is None else most_text
        self._ended = False

    def text(self, most_bytes: int | None = None) -> str:
        """The content of a field, as UTF-8. Raises BodyTooLarge for more than `most_bytes`.

        By default that is 64 KiB, or the request's max_form_memory_size if it is less.
        """
        if most_bytes is None:
            most_bytes = min(self._most_text, _MOST_TEXT_BYTES)
        content = self.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise BodyTooLarge(most_bytes, None)
        return content.decode(errors="replace")

    def save_to(
        self,
        target: Target,
        *,
        digests: Iterable[str] = (),
        fsync: bool = True,
    ) -> Received:
        """Store the content as the file or object `target`; as receive() does."""
        destination = destination_for(target, self._settings, fsync=fsync)
        return _stored(
            self.blocks(MOST_AT_ONCE), destination, self.headers, digests, self._settings
        )

    def _receive(self, size: int) -> bytes:
        while not self._ended:
            event = self._parts.next_event()
            assert isinstance(event, Data)
            self._ended = not event.more_data
            if event.data:
                return bytes(event.data)
        return b""

    def _is_empty(self) -> bool:
        """Whether there is no content. What came to know that is read next."""
        self._block, self._offset = self._receive(BLOCK_BYTES), 0
        return not self._block

    def skip(self) -> None:
        """Read what is left and throw it away."""
        for _ in self.blocks():
            pass


def stream_parts(
    request: Request, settings: UploadSettings | None = None, *, accept_range: bool = False
) -> Iterator[Part]:
    """The parts of a multipart/form-data body, in the order in which the client sends them.

    What the caller does not read of a part is skipped when it asks for the next one. A file input
    in which no file was chosen is left out: browsers send it as a file with neither name nor
    content.

    accept_range: as for receive(). A Content-Range of a form is that of its file, as uploaders in
        the browser send it with each piece; the application reads the header itself.
    Raises UnsupportedMediaType (HTTP status 415) for another Content-Type, MalformedBody for a
    body that is no form, a BodyError for one that breaks off, and BodyAlreadyRead if the
    application read of it before. A request's max_content_length and
    max_form_parts (in Flask MAX_CONTENT_LENGTH and MAX_FORM_PARTS) hold here too, and more is a
    413; an environ alone has no such limits. So are more headers of a part than the setting
    max_part_header_bytes allows (PartHeadersTooLarge).
    """
    environ = _environ(request)
    settings = settings or settings_of_body(environ)
    _content_range(environ, accept_range)
    media_type, options = parse_options_header(environ.get("CONTENT_TYPE", ""))
    if media_type != "multipart/form-data":
        raise UnsupportedMediaType(f"Expected multipart/form-data, got {media_type or 'nothing'}.")
    body = take_body(request, environ, settings, "stream_parts()")
    _limit_as_asked(body, request)
    most_parts = getattr(request, "max_form_parts", None)
    parts = _Parts(body, options.get("boundary", ""), most_parts, settings)
    most_text = getattr(request, "max_form_memory_size", None)
    while (event := parts.next_event()) and not isinstance(event, Epilogue):
        if not isinstance(event, (Field, File)):
            continue  # the preamble
        if scheduler := current_scheduler(settings):
            scheduler.checkpoint_within_turn()  # a block can hold a thousand small parts
        part = Part(event, parts, settings, most_text)
        if part.filename == "" and part._is_empty():
            continue
        yield part
        part.skip()


def save_to(
    file: FileStorage,
    target: Target,
    *,
    digests: Iterable[str] = (),
    fsync: bool = True,
    settings: UploadSettings | None = None,
) -> Received:
    """Store a file of a parsed form as the file or object `target`; as receive() does.

    From its position to its end, where it is then. It lets others run on the way.
    """
    settings = settings or settings_in_force()
    destination = destination_for(target, settings, fsync=fsync)
    blocks = iter(lambda: file.stream.read(MOST_AT_ONCE), b"")
    return _stored(blocks, destination, file.headers, digests, settings)


class _Parts:
    """The events of werkzeug's decoder over a body."""

    def __init__(
        self,
        body: CooperativeInput,
        boundary: str,
        most_parts: int | None,
        settings: UploadSettings,
    ) -> None:
        if not boundary:
            raise MalformedBody(0, "the Content-Type of the form names no boundary")
        self._body = body
        self._decoder = _DECODER(
            boundary.encode(), max_form_memory_size=_MOST_HELD_BYTES, max_parts=most_parts
        )
        self._decoder.most_header_bytes = settings.max_part_header_bytes

    def next_event(self) -> Event:
        try:
            while isinstance(event := self._decoder.next_event(), NeedData):
                self._decoder.receive_data(self._body.read(BLOCK_BYTES) or None)
        except PartHeadersTooLarge as error:
            raise self._body.rejected(error) from None
        except ValueError as error:
            what = MalformedBody(self._body.received, f"it is no form: {error}")
            raise self._body.rejected(what) from error
        return event


def _content_range(environ: dict[str, Any], accepted: bool) -> ContentRange | None:
    """The range of the body, None for a whole one. Raises PartialBody for one that may not be."""
    header = environ.get("HTTP_CONTENT_RANGE", "")
    if not header:
        return None
    parsed = parse_content_range_header(header)
    if not accepted or parsed is None:
        raise PartialBody(header)
    return parsed


def _check_size(size: int, content_range: ContentRange | None) -> None:
    if content_range is None or content_range.start is None or content_range.units != "bytes":
        return
    announced = (content_range.stop or 0) - content_range.start
    if size != announced:
        raise MalformedBody(size, f"its Content-Range announces {announced:,} bytes")


def _limit_as_asked(body: CooperativeInput, request: Request) -> None:
    """By what werkzeug's requests call so, and Flask reads from MAX_CONTENT_LENGTH."""
    most_bytes = getattr(request, "max_content_length", None)
    if most_bytes is not None:
        body.limit_to(most_bytes)


def _environ(request: Request) -> dict[str, Any]:
    return request if isinstance(request, dict) else request.environ


def _media_type(environ: dict[str, Any]) -> str | None:
    """What the client says that the body is, unless it does not know."""
    media_type: str = environ.get("CONTENT_TYPE", "")
    # curl and wget say that of whatever they send.
    return None if media_type == "application/x-www-form-urlencoded" else media_type or None


def _stored(
    blocks: Iterable[bytes],
    destination: Destination,
    headers: Headers,
    digests: Iterable[str],
    settings: UploadSettings,
) -> Received:
    """Store a part."""
    hashing = Hashing(digests, settings)
    with destination.deposit(content_type=headers.get("Content-Type")) as deposit:
        size = _copy(blocks, deposit, hashing)
        computed = hashing.finished()
        kept = deposit.commit(computed.values())
    return _received(kept, size, computed)


def _received(
    kept: Kept, size: int, computed: Digests, content_range: ContentRange | None = None
) -> Received:
    return Received(kept.where, size, computed.values(), content_range, kept.etag)


def _copy(blocks: Iterable[bytes], deposit: OpenDeposit, hashing: Hashing) -> int:
    """Write all of the blocks to the deposit; how many bytes."""
    size = 0
    for block in blocks:
        hashing.update(block)
        deposit.write(block)
        size += len(block)
    return size
