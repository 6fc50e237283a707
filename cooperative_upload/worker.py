"""Worker: gunicorn's gevent worker with cooperative request bodies.

Wiring only. For a request with a body, the body that gunicorn's parser made is replaced before
the application sees it, and the spools that the request made are freed when it ends. All else
(signals, time-outs, TLS, logging, keep-alive) is gunicorn's own.

The names of gunicorn that are used here and are not documented as public, all of them in every
version from 25.0 to 27.0: GeventWorker.handle_request, handle_http2_request, load_wsgi,
init_process and check_config; Request.body, .unreader and .should_close; Body.reader;
LengthReader.length; ChunkedReader.parser; Unreader.buf, .read and .unread.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gevent import GreenletExit
from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.errors import ChunkMissingTerminator, InvalidChunkSize, ParseException
from gunicorn.http2.errors import HTTP2Error
from gunicorn.workers.ggevent import GeventWorker

from . import werkzeug_patch
from .body import CooperativeInput, PieceSource, SocketSource, StreamSource
from .errors import BodyError, MalformedBody, SettingsError
from .settings import UploadSettings, setting_names
from .spool import spools_closed_at_the_end

# What gunicorn's chunk decoder raises for a body that breaks the coding. The last two are
# ParseExceptions only in later versions; in 25.0 they are OSErrors, as its NoMoreData is.
_MALFORMED = (ParseException, ChunkMissingTerminator, InvalidChunkSize)

# The payload of a DATA frame unless the client was told otherwise (RFC 9113 section 6.5.2).
_HTTP2_FRAME_BYTES = 16 * 1024


class Worker(GeventWorker):  # type: ignore[misc]  # gunicorn has no type hints
    """`gunicorn -k cooperative_upload.Worker`.

    Settings are attributes of this class, or of a subclass, by the names of UploadSettings;
    environment variables go before them. Unknown names and bad values stop the boot.
    """

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Called by gunicorn before the first fork; a RuntimeError ends it with one line."""
        try:
            cls.upload_settings(cfg).check_spool_directory()
        except SettingsError as error:
            raise RuntimeError(str(error)) from None

    @classmethod
    def upload_settings(cls, cfg: Any) -> UploadSettings:
        """The settings that this class, the environment and gunicorn's raw_env give."""
        return UploadSettings.from_environment({**os.environ, **cfg.env}, _attributes(cls))

    def init_process(self) -> None:
        self._upload_settings = self.upload_settings(self.cfg)
        if self._upload_settings.patch_werkzeug:
            werkzeug_patch.apply(self._upload_settings)
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.wsgi: Callable[..., Any] = _answering_broken_bodies(self.wsgi)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        body = self._cooperative_body(req, sock)
        if body is None:
            return super().handle_request(listener_name, req, sock, addr)
        should_close = req.should_close
        # Where the next request begins is unknown behind a body that broke off. This also makes
        # the response say "Connection: close".
        req.should_close = lambda: body.failed or should_close()
        req.body = body
        # What the application does before its first read is part of the upload too: a hundred
        # uploads that begin at once would otherwise do it all in one round of the loop.
        try:
            body.checkpoint()
        except GreenletExit:
            raise StopIteration from None  # to gunicorn: close this connection, quietly
        with spools_closed_at_the_end():
            return super().handle_request(listener_name, req, sock, addr)

    def handle_http2_request(
        self, listener_name: Any, req: Any, sock: Any, addr: Any, h2_conn: Any
    ) -> Any:
        source = StreamSource(_Http2Body(req.body), most_at_once=_HTTP2_FRAME_BYTES)
        req.body = CooperativeInput(source, req.content_length, self._upload_settings)
        with spools_closed_at_the_end():
            return super().handle_http2_request(listener_name, req, sock, addr, h2_conn)

    def _cooperative_body(self, req: Any, sock: Any) -> CooperativeInput | None:
        """The body of a request of HTTP/1.1 or the uwsgi protocol; None if it has none."""
        reader = req.body.reader
        if isinstance(reader, LengthReader):
            length = reader.length
            if not length:
                return None
            source = SocketSource(sock, _take_head(reader.unreader, length), length)
            return CooperativeInput(source, length, self._upload_settings)
        if isinstance(reader, ChunkedReader):
            pieces = PieceSource(_decoded(reader.parser))
            return CooperativeInput(pieces, None, self._upload_settings)
        return None


def _attributes(worker_class: type) -> dict[str, Any]:
    """The settings among the attributes of a worker class.

    Raises SettingsError for an attribute of unknown name, which gunicorn would ignore.
    """
    found: dict[str, Any] = {}
    for cls in reversed(worker_class.__mro__):
        if not issubclass(cls, Worker):
            continue
        for name, value in vars(cls).items():
            if name.startswith("_") or callable(value) or hasattr(type(value), "__get__"):
                continue
            if name in setting_names() or not hasattr(GeventWorker, name):
                found[name] = value
    return found


def _take_head(unreader: Any, length: int) -> bytes:
    """The first bytes of a body, which were read together with the headers."""
    buffered: bytes = unreader.read() if unreader.buf.getvalue() else b""
    unreader.unread(buffered[length:])  # the next, pipelined, request
    return buffered[:length]


class _Http2Body:
    """The body of one HTTP/2 stream, with gunicorn's errors told as OSErrors.

    The stream was reset, the connection has gone or the client sent nothing for too long.
    """

    def __init__(self, body: Any) -> None:
        self._body = body

    def read(self, size: int) -> bytes:
        return self._told_as_ours(self._body.read, size)

    def readline(self, size: int) -> bytes:
        return self._told_as_ours(self._body.readline, size)

    def _told_as_ours(self, read: Callable[[int], bytes], size: int) -> bytes:
        try:
            return read(size)
        except HTTP2Error as error:
            raise ConnectionResetError(errno.ECONNRESET, str(error)) from error


def _decoded(decoder: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces of a chunked body, with gunicorn's errors told as ours."""
    received = 0
    try:
        for piece in decoder:
            received += len(piece)
            yield piece
    except _MALFORMED as error:
        raise MalformedBody(received, str(error)) from error


def _answering_broken_bodies(application: Callable[..., Any]) -> Callable[..., Any]:
    """Answer 400 where an application lets a BodyError through before it began to respond.

    Once a response has begun, gunicorn closes the connection on the same error.
    """

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            response: Iterable[bytes] = application(environ, start_response)
        except BodyError as error:
            if start_response.__self__.status is not None:  # type: ignore[attr-defined]
                raise
            response = error.get_response(environ)(environ, start_response)
        return response

    return wrapped
