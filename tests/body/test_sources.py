"""CooperativeInput over each of its sources: the contract."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Iterator, Sequence

import gevent
import gevent.socket
from body_contract import BodyContract, OpenBody
from body_sources import SETTINGS, Decoder, OnlyRead
from greenlets import DEADLINE, join, running
from sockets import Pair, body_from, socket_pair, tls_pair

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.body.sources import PieceSource


class SocketContract(BodyContract):
    """Over a real socket, on which a client sends piece by piece."""

    head_bytes = 0
    pair: Pair = staticmethod(socket_pair)

    @contextlib.contextmanager
    def open(
        self, pieces: Sequence[bytes], *, missing: int = 0, trailing: bytes = b""
    ) -> Iterator[OpenBody]:
        data = b"".join(pieces)
        length = len(data) + missing
        head, sent = data[: self.head_bytes], []
        skip = len(head)
        for piece in pieces:
            sent.append(piece[skip:])
            skip -= min(skip, len(piece))
        if trailing and sent:
            sent[-1] += trailing  # in one piece with the end of the body
        elif trailing:
            sent.append(trailing)

        with self.pair() as (client, server):

            def send() -> None:
                for piece in sent:
                    client.sendall(piece)
                    if len(sent) > 1:
                        gevent.sleep(0)
                if missing:
                    client.shutdown(gevent.socket.SHUT_WR)

            with running(send) as senders:

                def rest() -> bytes:
                    join(*senders)
                    received: bytes = server.recv(1000)
                    return received

                source = body_from(server, head, length)
                yield OpenBody(CooperativeInput(source, length, SETTINGS), rest)


class TestSocket(SocketContract):
    """All of the body is still to come."""


class TestSocketWithHead(SocketContract):
    """The server has read the first bytes together with the headers."""

    head_bytes = 7


class TestTLSSocket(SocketContract):
    """Inside of TLS, whose records keep bytes back that no event tells of."""

    pair = staticmethod(tls_pair)

    def test_split_at_every_offset(self) -> None:
        """Left to the plain socket: one handshake for each split would take long."""


class TestTLSSocketWithHead(TestTLSSocket):
    """The server has read the first bytes together with the headers."""

    head_bytes = 7


class TestPieces(BodyContract):
    """Chunked transfer coding: the length is not known."""

    knows_length = False

    @contextlib.contextmanager
    def open(
        self, pieces: Sequence[bytes], *, missing: int = 0, trailing: bytes = b""
    ) -> Iterator[OpenBody]:
        decoder = iter(Decoder([*pieces, b""], broken=missing > 0))
        body = CooperativeInput(PieceSource(decoder), None, SETTINGS)
        yield OpenBody(body, lambda: trailing)


class TestStream(BodyContract):
    """The wsgi.input of another server, with Content-Length."""

    @contextlib.contextmanager
    def open(
        self, pieces: Sequence[bytes], *, missing: int = 0, trailing: bytes = b""
    ) -> Iterator[OpenBody]:
        data = b"".join(pieces)
        stream = io.BytesIO(data + trailing)
        yield OpenBody(CooperativeInput(stream, len(data) + missing, SETTINGS), stream.read)


class TestStreamInThread(TestStream):
    """The same in a thread without gevent: there are no turns, and all else is as it was."""

    def run(self, function: Callable[[], object]) -> None:
        outcome: list[BaseException | None] = []

        def plain() -> None:
            try:
                function()
            except BaseException as error:
                outcome.append(error)
            else:
                outcome.append(None)
            assert gevent.hub._get_hub() is None  # type: ignore[attr-defined]

        thread = threading.Thread(target=plain)
        thread.start()
        thread.join(DEADLINE)
        (error,) = outcome
        if error is not None:
            raise error


class TestOnlyRead(BodyContract):
    """A wsgi.input with nothing but read(n), whose reads fall short where a piece ends."""

    @contextlib.contextmanager
    def open(
        self, pieces: Sequence[bytes], *, missing: int = 0, trailing: bytes = b""
    ) -> Iterator[OpenBody]:
        data = b"".join(pieces)
        longest = max(map(len, pieces), default=1)
        stream = OnlyRead(data + trailing, longest)
        body = CooperativeInput(stream, len(data) + missing, SETTINGS)
        yield OpenBody(body, lambda: b"".join(iter(lambda: stream.read(1000), b"")))


class TestStreamWithoutLength(BodyContract):
    """A stream that ends by itself and raises where its client left."""

    knows_length = False

    @contextlib.contextmanager
    def open(
        self, pieces: Sequence[bytes], *, missing: int = 0, trailing: bytes = b""
    ) -> Iterator[OpenBody]:
        class Stream(OnlyRead):
            def read(self, size: int) -> bytes:
                data = super().read(size)
                if not data and missing:
                    raise ConnectionResetError
                return data

        body = CooperativeInput(Stream(b"".join(pieces)), None, SETTINGS)
        yield OpenBody(body, lambda: trailing)
