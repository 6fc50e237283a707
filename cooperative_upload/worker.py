"""Worker: gunicorn's gevent worker with cooperative request bodies.

Wiring only. For a request with a body, the body that gunicorn's parser made is replaced before
the application sees it, an Exchange goes with it, and the connection lingers if the client may
still send when all is said. All else (signals, TLS, logging, keep-alive) is gunicorn's own.

The names of gunicorn that are used here and are not documented as public, all of them in every
version from 25.0 to 27.0: GeventWorker.handle, handle_http2, handle_http2_request, handle_error,
load_wsgi, init_process, alive and check_config; AsyncWorker.handle_request; Request.body,
.unreader, .should_close, .trailers and ._expected_100_continue; Body.reader; LengthReader.length;
ChunkedReader.parser; Unreader.buf, .read and .unread; HTTP2Request.stream and its
.request_complete, .stream_id and .trailers; HTTP2ServerConnection.send_informational;
Response.status_code, .headers, .headers_sent, .response_length and
.force_close. In 27.0 alone HTTP2Stream.body_size, before it len() of the body.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import gevent
import gunicorn
from gevent import GreenletExit, getcurrent
from gunicorn.errors import AppImportError
from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http2.errors import HTTP2Error
from gunicorn.workers.ggevent import GeventWorker

from .body import (
    CooperativeInput,
    PieceSource,
    SocketSource,
    StreamSource,
    chunk_error,
    receiver,
    taken_together,
)
from .errors import SettingsError
from .exchange import (
    Admission,
    ConnectionDeadline,
    Exchange,
    Lingering,
    answering_for,
    closed_after,
    interim_response,
    limit_handshakes,
    trailers_of,
)
from .forms import werkzeug_patch
from .monitoring import (
    Upload,
    chosen_id,
    count,
    current_sheet,
    end_streams,
    marked_as_uwsgi,
    share_statistics,
    telling_statsd,
    upload_id,
)
from .settings import UploadSettings, setting_names
from .settings_in_force import holding_for_process
from .turns import watch_loop

# What is received and what is read in one go over HTTP/2: two DATA frames of the usual size (RFC
# 9113 section 6.5.2). At 100 MB/s they are 0.3 ms, so that a slice can still end in time.
_HTTP2_BYTES_AT_ONCE = 32 * 1024

# When a worker is told to end, gunicorn's arbiter kills it after graceful_timeout. So many seconds
# before that, what is still running is answered, and its connection lingers for so many.
_TIME_TO_ANSWER = 1.25
_TIME_TO_LINGER = 0.5
_LOOK_EVERY = 0.25

_header_deadline: ContextVar[ConnectionDeadline | None] = ContextVar("deadline", default=None)


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
        share_statistics(cfg.workers)

    @classmethod
    def upload_settings(cls, cfg: Any) -> UploadSettings:
        """The settings that this class, the environment and gunicorn's raw_env give."""
        return UploadSettings.from_environment({**os.environ, **cfg.env}, _attributes(cls))

    def init_process(self) -> None:
        settings = self.upload_settings(self.cfg)
        self._upload_settings = settings
        holding_for_process(settings)
        self._admission = Admission(settings)
        self._lingering = Lingering(settings)
        self._busy: set[Any] = set()  # the greenlets of requests with bodies
        if settings.patch_werkzeug:
            werkzeug_patch.apply(settings)
        if self.cfg.is_ssl:
            self._limit_handshakes()
        super().init_process()

    def load_wsgi(self) -> None:
        try:  # once more, now with the rights of the worker's own user
            warning = self._upload_settings.check_spool_directory()
        except SettingsError as error:
            raise AppImportError(str(error)) from None  # the error that ends gunicorn's boot
        if warning:
            self.log.warning(warning)
        super().load_wsgi()
        answering = answering_for(self.wsgi)
        is_uwsgi = self.cfg.protocol == "uwsgi"
        self.wsgi: Callable[..., Any] = marked_as_uwsgi(answering) if is_uwsgi else answering

    def run(self) -> None:
        current_sheet()  # from now on the others see this worker, though it has counted nothing
        gevent.spawn(self._answer_in_time)
        watch_loop(self._upload_settings, self.log.warning)
        with telling_statsd(self.log):
            super().run()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        with closed_after(client, self._upload_settings.header_timeout_seconds) as deadline:
            _header_deadline.set(deadline)
            super().handle(listener, client, addr)
        if deadline.expired:
            count("headers_timed_out")
            self.log.info("No request from %s: closed.", _address(addr))

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        _headers_have_come()
        exchange = self._exchange(req, sock, addr)
        # Past the gevent worker's own handle_request, which goes on to the next request behind one
        # that was killed in the middle of its response, or without any.
        stock_handle_request = super(GeventWorker, self).handle_request
        if exchange is None:
            try:
                stock_handle_request(listener_name, req, sock, addr)
            except (GreenletExit, SystemExit):
                raise StopIteration from None  # gunicorn's way to say that the connection closes
            return
        try:
            with exchange.running(), self._being_busy():
                stock_handle_request(listener_name, req, sock, addr)
            closing = False
        except (StopIteration, GreenletExit, SystemExit):
            closing = True
        except BaseException:  # whose answer, if there is one, must not wait for a client
            exchange.report(self.log, raised=True)
            raise
        try:
            # A client whose connection closes is not waited for, but may have sent everything.
            if not closing or exchange.body.to_be_sent == 0:
                exchange.drain()
        finally:
            exchange.report(self.log)
        if closing or exchange.should_close():
            self._linger(sock, exchange)
            raise StopIteration

    def handle_http2(self, listener: Any, client: Any, addr: Any, *args: Any, **kw: Any) -> None:
        _headers_have_come()
        with _receiving_together(client):
            super().handle_http2(listener, client, addr, *args, **kw)

    def handle_http2_request(
        self, listener_name: Any, req: Any, sock: Any, addr: Any, h2_conn: Any
    ) -> None:
        if _ended_with_headers(req):
            super().handle_http2_request(listener_name, req, sock, addr, h2_conn)
            return
        source = StreamSource(_Http2Body(req.body), most_at_once=_HTTP2_BYTES_AT_ONCE)
        req.body = CooperativeInput(
            source,
            req.content_length,
            self._upload_settings,
            most_bytes=self._upload_settings.max_body_bytes or None,
        )
        upload = _upload(req, addr, req.content_length)
        exchange = Exchange(
            req.body,
            upload,
            req,
            self._upload_settings,
            self._admission,
            trailers=lambda: trailers_of(req.stream.trailers),
            send_interim=lambda status, phrase, headers: h2_conn.send_informational(
                req.stream.stream_id, status, headers
            ),
        )
        try:
            with exchange.running(), self._being_busy():
                super().handle_http2_request(listener_name, req, sock, addr, h2_conn)
        except BaseException:
            exchange.report(self.log, raised=True)
            raise
        exchange.report(self.log)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        if isinstance(exc, GreenletExit):
            return  # the worker ends; there is nothing to answer
        _headers_have_come()  # lingering has limits of its own
        super().handle_error(req, client, addr, exc)
        self._lingering.close(client)  # the client may still send what this was the answer to

    @contextlib.contextmanager
    def _being_busy(self) -> Iterator[None]:
        greenlet = getcurrent()
        self._busy.add(greenlet)
        try:
            yield
        finally:
            self._busy.discard(greenlet)

    def _answer_in_time(self) -> None:
        """Once the worker is to end: cut what would not be done before it is killed."""
        while self.alive:
            gevent.sleep(_LOOK_EVERY)
        end_streams()
        gevent.sleep(max(0, self.cfg.graceful_timeout - _TIME_TO_ANSWER))
        gevent.killall(list(self._busy), block=False)

    def _linger(self, sock: Any, exchange: Exchange) -> None:
        body = exchange.body
        if body.failed or body.to_come != 0:
            to_be_sent = None if body.failed else body.to_be_sent
            self._lingering.close(sock, to_be_sent, None if self.alive else _TIME_TO_LINGER)

    def _limit_handshakes(self) -> None:
        make_context = self.cfg.ssl_context

        def failed(addr: Any, reason: str) -> None:
            count("handshake_failed")
            self.log.info("TLS handshake with %s failed: %s", _address(addr), reason)

        def make_limited(config: Any, make_default: Callable[[], Any]) -> Any:
            context = make_context(config, make_default)
            limit_handshakes(context, self._upload_settings.header_timeout_seconds, failed)
            return context

        self.cfg.set("ssl_context", make_limited)

    def _exchange(self, req: Any, sock: Any, addr: Any) -> Exchange | None:
        """What goes with a request of HTTP/1.1 or the uwsgi protocol; None if it has no body.

        The request's body is replaced.
        """
        settings = self._upload_settings
        reader = req.body.reader
        if isinstance(reader, LengthReader) and reader.length:
            length: int | None = reader.length
            head = _take_head(reader.unreader, reader.length)
            source: Any = SocketSource(receiver(sock), head, reader.length)
        elif isinstance(reader, ChunkedReader):
            length, head = None, b""
            source = PieceSource(_decoded(reader.parser))
        else:
            return None
        body = CooperativeInput(
            source,
            length,
            settings,
            sock=sock,
            most_bytes=settings.max_body_bytes or None,
            before_receiving=lambda: exchange.announce_reading(sock.sendall),
        )
        upload = _upload(req, addr, length)
        exchange = Exchange(
            body,
            upload,
            req,
            settings,
            self._admission,
            trailers=lambda: trailers_of(req.trailers),
            send_interim=self._interim_sender(req, sock),
        )
        if getattr(req, "_expected_100_continue", False):
            req._expected_100_continue = False  # or gunicorn would send it now
            if not head:  # a client that sends already waits for nothing
                exchange.expect_continue()
        req.body = body
        return exchange

    def _interim_sender(self, req: Any, sock: Any) -> Callable[..., object] | None:
        if self.cfg.protocol == "uwsgi" or req.version < (1, 1):
            return None
        return lambda status, phrase, headers: sock.sendall(
            interim_response(status, phrase, headers)
        )


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


def _receiving_together(client: Any) -> contextlib.AbstractContextManager[None]:
    """Around all of an HTTP/2 connection."""
    if gunicorn.version_info < (27,):
        # It meets a KeyError where one recv brings a stream's data and its cancellation.
        return contextlib.nullcontext()
    return taken_together(client, _HTTP2_BYTES_AT_ONCE)


def _ended_with_headers(req: Any) -> bool:
    """Whether an HTTP/2 request has no body. Before gunicorn 27 bodies were collected first."""
    stream = req.stream
    size = stream.body_size if hasattr(stream, "body_size") else len(req.body)
    return bool(stream.request_complete) and not size


def _decoded(decoder: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces of a chunked body, with gunicorn's errors told as ours."""
    received = 0
    try:
        for piece in decoder:
            received += len(piece)
            yield piece
    except Exception as error:
        ours = chunk_error(error, received)
        if ours is None:
            raise
        raise ours from error


def _headers_have_come() -> None:
    deadline = _header_deadline.get()
    if deadline is not None:
        deadline.cancel()


def _upload(req: Any, addr: Any, length: int | None) -> Upload:
    chosen = chosen_id(_header(req, upload_id.NAME.upper()), req.query or "")
    return Upload(req.method, req.path, _address(addr), length, chosen)


def _header(req: Any, name: str) -> str:
    """What the application sees in its environ, also of a header that comes more than once."""
    return ",".join(value for header, value in req.headers if header == name)


def _address(addr: Any) -> str:
    if addr is None:
        return "a client that has gone"
    return str(addr[0]) if isinstance(addr, tuple) else "a Unix socket"
