"""One request on a connection of its own, with gunicorn's response, and applications for it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from counters import Counted
from gunicorn.config import Config
from gunicorn.http.wsgi import FileWrapper, Response
from sockets import socket_pair

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.body.sources import PieceSource, SocketSource
from cooperative_upload.exchange.admission import Admission
from cooperative_upload.exchange.gunicorn_exchange import Exchange, answering_for
from cooperative_upload.monitoring.monitor import Upload
from cooperative_upload.settings import UploadSettings

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLIENT = ("127.0.0.7", 50_000)
KILOBYTE = bytes(1024)
DRAIN = 1000
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Request:
    """What an exchange and gunicorn's response use of gunicorn's request."""

    method = "POST"
    version = (1, 1)

    def __init__(self, closes: bool = False) -> None:
        self._closes = closes

    def should_close(self) -> bool:
        return self._closes


class Log:
    """Of the methods of gunicorn's log those that are for lines; a line is (level, text)."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def info(self, text: str, *values: object) -> None:
        self.lines.append(("info", text % values))

    def error(self, text: str, *values: object) -> None:
        self.lines.append(("error", text % values))


class Case:
    """One request with a body on a connection; the client's socket is the test's.

    length: of the body; None for a chunked one, whose pieces are those of `decoder`.
    """

    def __init__(
        self,
        client: Any,
        server: Any,
        length: int | None = 10,
        settings: UploadSettings | None = None,
        decoder: Iterator[bytes] | None = None,
        admission: Admission | None = None,
        most_bytes: int | None = None,
        address: Any = CLIENT,
        path: str = "/form",
        closes: bool = False,
    ) -> None:
        settings = settings or UploadSettings()
        self.client, self.server = client, server
        self.request = Request(closes)
        self.body = CooperativeInput(
            PieceSource(decoder or iter(()))
            if length is None
            else SocketSource(server, b"", length),
            length,
            settings,
            sock=server,
            most_bytes=most_bytes,
            before_receiving=lambda: self.exchange.announce_reading(server.sendall),
        )
        admission = admission or Admission(settings)
        client = address[0] if isinstance(address, tuple) else "a Unix socket"
        upload = Upload(self.request.method, path, client, length)
        self.exchange = Exchange(self.body, upload, self.request, settings, admission)
        self.response = Response(self.request, server, Config())
        self.environ = {
            "REQUEST_METHOD": "POST",
            "REMOTE_ADDR": address[0] if isinstance(address, tuple) else "",
            "wsgi.input": self.body,
            "wsgi.file_wrapper": FileWrapper,
        }

    def serve(self, application: Application) -> None:
        """What gunicorn's worker does with a request, up to the end of its response."""
        with self.exchange.running():
            pieces = answering_for(application)(self.environ, self.response.start_response)
            try:
                for piece in pieces:
                    self.response.write(piece)
                self.response.close()
            finally:
                if hasattr(pieces, "close"):
                    pieces.close()

    def sent(self) -> bytes:
        """All that the client has got by now."""
        self.client.settimeout(0)
        data = b""
        with contextlib.suppress(BlockingIOError, TimeoutError):
            while piece := self.client.recv(65536):
                data += piece
        return data

    def reported(self) -> tuple[dict[str, int], list[tuple[str, str]]]:
        """What the report added to the counters, and its lines."""
        counted, log = Counted(), Log()
        self.exchange.report(log)
        return counted.so_far(), log.lines


@contextlib.contextmanager
def case(*args: Any, **options: Any) -> Iterator[Case]:
    with socket_pair() as (client, server):
        yield Case(client, server, *args, **options)


def answer(start_response: Callable[..., Any], text: bytes = b"ok") -> list[bytes]:
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text]


def reading(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    return answer(start_response, b"%d" % len(environ["wsgi.input"].read()))


def not_reading(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    return answer(start_response)


def raising(error: BaseException) -> Application:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        raise error

    return application


def status(sent: bytes) -> int:
    return int(sent.split(b" ", 2)[1])


def connection_header(sent: bytes) -> str:
    found = re.search(rb"^Connection: (.*?)\r\n", sent, re.MULTILINE)
    assert found is not None, sent
    return found.group(1).decode()
