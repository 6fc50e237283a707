"""The contract of CooperativeInput over the inputs of the servers that the wrapper is for.

Their own classes read a real socket here; tests/live/test_wrapper.py has them in processes of
their own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import gevent
import gevent.socket
import pytest
from body_contract import METHODS, TEXT, BodyContract, OpenBody
from gevent.pywsgi import Input
from greenlets import join, running
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from http_client import chunk, head
from sockets import socket_pair

from cooperative_upload.body.blocks import BLOCK_BYTES
from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.body.wsgi_input import cooperative_input
from cooperative_upload.errors import IncompleteBody
from cooperative_upload.settings import UploadSettings

SETTINGS = UploadSettings(small_body_bytes=0)


class ServerContract(BodyContract):
    """A body that a client sends piece by piece, or chunk by chunk."""

    def input(self, server: Any, length: int | None) -> tuple[Any, Any]:
        """The server's input over this socket, and what it reads the socket with."""
        raise NotImplementedError

    def headers(self, length: int | None) -> bytes:
        """What comes before the body, if it is for the server's parser to read."""
        return b""

    @contextlib.contextmanager
    def open(
        self, pieces: Sequence[bytes], *, missing: int = 0, trailing: bytes = b""
    ) -> Iterator[OpenBody]:
        length = sum(map(len, pieces)) + missing if self.knows_length else None
        sent = [piece if self.knows_length else chunk(piece) for piece in pieces if piece]
        end = b"" if self.knows_length or missing else b"0\r\n\r\n"
        with contextlib.ExitStack() as closing, socket_pair() as (client, server):

            def send() -> None:
                client.sendall(self.headers(length))
                for piece in sent:
                    client.sendall(piece)
                    gevent.sleep(0)
                client.sendall(end + trailing)
                client.shutdown(gevent.socket.SHUT_WR)

            with running(send) as senders:
                stream, reader = self.input(server, length)
                closing.callback(reader.close)

                def rest() -> bytes:
                    join(*senders)
                    received: bytes = reader.read()
                    return received

                environ = {"wsgi.input": stream, "CONTENT_LENGTH": str(length or "")}
                if not self.knows_length:
                    environ["HTTP_TRANSFER_ENCODING"] = "chunked"
                yield OpenBody(cooperative_input(environ, SETTINGS), rest)

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("arrived", [0, 1, 6, 20, len(TEXT)])
    def test_truncated(self, arrived: int, method: str) -> None:
        """As in the contract, but that the server need not give out all that came before."""

        def test(body: CooperativeInput) -> None:
            given: list[bytes] = []

            def read_on() -> None:
                while result := METHODS[method](body):
                    given.append(result)  # kept also when the next call raises

            with pytest.raises(IncompleteBody) as caught:
                read_on()
            assert TEXT[:arrived].startswith(b"".join(given))
            self.check_error(caught.value, arrived, body)

        self.check([TEXT[:arrived]], test, missing=5)

    def check_error(self, error: IncompleteBody, arrived: int, body: CooperativeInput) -> None:
        """As in the contract, but that a part of a block can be lost with the server's error."""
        assert error.received == body.received <= arrived
        assert (error.expected is not None) == self.knows_length
        assert body.failed
        for again in METHODS.values():
            with pytest.raises(IncompleteBody):
                again(body)


class TestPywsgi(ServerContract):
    """gevent's own server, and gunicorn's worker of that name."""

    most_lost = BLOCK_BYTES  # it raises, and what the read had is gone

    def input(self, server: Any, length: int | None) -> tuple[Any, Any]:
        reader = server.makefile("rb", -1)
        return Input(reader, length, chunked_input=length is None), reader


class TestPywsgiInChunks(TestPywsgi):
    knows_length = False


class TestGunicorn(ServerContract):
    """gunicorn's gevent worker."""

    def headers(self, length: int | None) -> bytes:
        framing = {"Transfer-Encoding": "chunked"}
        if length is not None:
            framing = {"Content-Length": str(length)}
        return head("POST", "/", framing)

    def input(self, server: Any, length: int | None) -> tuple[Any, Any]:
        parser = RequestParser(Config(), server, ("192.0.2.7", 5))
        return next(parser).body, Unread(parser.unreader)


class TestGunicornInChunks(TestGunicorn):
    knows_length = False
    most_lost = BLOCK_BYTES


class Unread:
    """What gunicorn has not taken for the body, all of it."""

    def __init__(self, unreader: Any) -> None:
        self._unreader = unreader

    def read(self) -> bytes:
        return b"".join(iter(self._unreader.read, b""))

    def close(self) -> None:
        """The socket is another's."""
