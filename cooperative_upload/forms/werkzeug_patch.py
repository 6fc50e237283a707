"""The spool for applications that are not changed.

apply() replaces, in this process, what werkzeug uses where an application says nothing else: the
stream factory of the form parser, by one that makes Spools; FileStorage.save, by one that saves
a Spool to a path without blocking the loop; and the multipart decoder by the one that is faster
inside of large parts, and that lets others run between small ones. What it parses in one go, JSON
and the headers of a part, it parses within the limits of the settings, and so it does urlencoded
forms, in steps between which others run.
Everything else goes to werkzeug's own code: a request class with a stream factory of its own, a
stream that is no Spool, a destination that is a file object.

It also lets a BodyError through the stream that werkzeug puts around wsgi.input where
max_content_length is set, which would answer the same 400 without what went wrong.
"""

from __future__ import annotations

import contextlib
import functools
import os
import urllib.parse
from collections.abc import Callable
from typing import IO, Any

import werkzeug.formparser
import werkzeug.wrappers.request
from werkzeug.datastructures import FileStorage
from werkzeug.formparser import FormDataParser
from werkzeug.sansio.multipart import Event, Field, File
from werkzeug.wrappers import Request
from werkzeug.wsgi import LimitedStream

from ..body import body_behind
from ..context_scope import ContextScope
from ..errors import BodyError, PartHeadersTooLarge
from ..settings import UploadSettings
from ..settings_in_force import settings_of_request
from ..spool import Spool
from ..turns import current_scheduler
from .multipart import BlockMultipartDecoder, LimitedMultipartDecoder, is_supported
from .parse_limits import limit_json, limited_form
from .urlencoded import pairs_in_steps

_form_parser: Any = werkzeug.formparser
_request: Any = werkzeug.wrappers.request


StreamFactory = Callable[[int | None, str | None, str | None, int | None], Any]
"""What makes the stream of a file of a form, as werkzeug calls it: with the length of the body,
the media type of the part, the file's name, and the length that the part says it has."""

_of_request: ContextScope[StreamFactory] = ContextScope("stream factory")


def holding_stream_factory(factory: StreamFactory) -> contextlib.AbstractContextManager[None]:
    """Files of forms that are parsed in the block come into streams of that factory's."""
    return _of_request.holding(factory)


def spool_factory(settings: UploadSettings) -> Callable[..., Any]:
    """A stream factory of werkzeug's that makes Spools, or what the request's own makes.

    settings: where the request has none of its own.
    """

    def make_spool(
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None,
        content_length: int | None = None,
    ) -> Any:
        if own := _of_request.get():
            return own(total_content_length, content_type, filename, content_length)
        return Spool(settings_of_request() or settings, filename=filename)

    return make_spool


def apply(settings: UploadSettings) -> None:
    """Replace them, for this process. A second call changes the settings of the first."""

    class Decoder(_decoder_for(settings)):  # type: ignore[misc]
        """Lets others run between the parts of a form, of which one block can hold a thousand."""

        most_header_bytes = settings.max_part_header_bytes

        def next_event(self) -> Event:
            event: Event = super().next_event()
            if isinstance(event, (Field, File)):
                _let_others_run(settings)
            return event

    @functools.wraps(_werkzeug_parse)
    def parse(
        self: FormDataParser,
        stream: IO[bytes],
        mimetype: str,
        content_length: int | None,
        options: dict[str, str] | None = None,
    ) -> tuple[IO[bytes], Any, Any]:
        limited = limited_form(stream, mimetype, content_length, settings)
        try:
            _, form, files = _werkzeug_parse(self, limited, mimetype, content_length, options)
        except PartHeadersTooLarge as error:
            if body := body_behind(stream):
                body.rejected(error)
            raise
        return stream, form, files

    @functools.wraps(_werkzeug_get_json)
    def get_json(
        self: Request, force: bool = False, silent: bool = False, cache: bool = True
    ) -> Any:
        if force or self.is_json:
            limit_json(self, settings)
        return _werkzeug_get_json(self, force, silent, cache)

    @functools.wraps(_python_parse_qsl)
    def parse_qsl(qs: str, **options: Any) -> Any:
        if options != _AS_WERKZEUG_ASKS:
            return _python_parse_qsl(qs, **options)
        return pairs_in_steps(qs, options["errors"], lambda: _let_others_run(settings))

    make_spool = spool_factory(settings)
    _form_parser.default_stream_factory = make_spool
    _request.default_stream_factory = make_spool  # it has imported the name for itself
    FileStorage.save = save_cooperatively  # type: ignore[method-assign]
    FormDataParser.parse = parse  # type: ignore[method-assign]
    Request.get_json = get_json  # type: ignore[method-assign]
    _form_parser.MultipartDecoder = Decoder
    if hasattr(_form_parser, "parse_qsl"):
        _form_parser.parse_qsl = parse_qsl
    LimitedStream.on_disconnect = _raise_what_is_known  # type: ignore[method-assign]


def _decoder_for(settings: UploadSettings) -> type[LimitedMultipartDecoder]:
    fast = settings.fast_multipart and is_supported()
    return BlockMultipartDecoder if fast else LimitedMultipartDecoder


def _let_others_run(settings: UploadSettings) -> None:
    if scheduler := current_scheduler(settings):
        scheduler.checkpoint_within_turn()


# What werkzeug's form parser calls it with.
_AS_WERKZEUG_ASKS = {"keep_blank_values": True, "errors": "werkzeug.url_quote"}

_python_parse_qsl = urllib.parse.parse_qsl
_werkzeug_save = FileStorage.save
_werkzeug_on_disconnect = LimitedStream.on_disconnect
_werkzeug_parse = FormDataParser.parse
_werkzeug_get_json = Request.get_json


@functools.wraps(_werkzeug_save)
def save_cooperatively(
    self: FileStorage, dst: str | os.PathLike[str] | IO[bytes], buffer_size: int = 16384
) -> None:
    """FileStorage.save: a Spool goes to a path without blocking, all else as in werkzeug."""
    path: Any = os.fspath(dst) if hasattr(dst, "__fspath__") else dst
    if isinstance(self.stream, Spool) and isinstance(path, str):
        self.stream.save(path)
    else:
        _werkzeug_save(self, dst, buffer_size)


@functools.wraps(_werkzeug_on_disconnect)
def _raise_what_is_known(self: LimitedStream, error: Exception | None = None) -> None:
    if isinstance(error, BodyError):
        raise error
    _werkzeug_on_disconnect(self, error)
