"""One HTTP/1.1 request and its answer, without I/O.

`outgoing()` says what is to be sent next, `sent()` takes note of it, `receive()` takes what
arrived. The request's body is never copied; the answer is parsed by h11.
"""

from __future__ import annotations

from dataclasses import dataclass

import h11

from loadtest.clients.bodies import Body

ANSWER_LIMIT = 64 * 1024  # bytes of an answer's body that are kept
NOTHING = memoryview(b"")
ENDED = "the connection ended before the answer"


@dataclass(frozen=True)
class Request:
    """What is asked for; `body` is sent as its kind says."""

    method: str
    target: str
    authority: str
    headers: tuple[tuple[str, str], ...] = ()
    body: Body | None = None


@dataclass(frozen=True)
class Answer:
    """What came back: all of it."""

    status: int
    body: bytes


class ProtocolError(Exception):
    """What arrived is no answer."""


class Session:
    """One connection. HTTP/1.1 keeps no state between requests."""

    def begin(self, request: Request) -> Exchange:
        return Exchange(request)


class Exchange:
    """`request` and its answer on one connection, which must be free for it."""

    def __init__(self, request: Request) -> None:
        self._h11 = h11.Connection(h11.CLIENT)
        head = self._h11.send(
            h11.Request(method=request.method, target=request.target, headers=_headers(request))
        )
        self._head = memoryview(head or b"")
        self._body = request.body
        if self._body is None:
            self._h11.send(h11.EndOfMessage())
        self._received = bytearray()
        self.body_sent = 0
        self.status = 0  # of the answer, as soon as it has arrived
        self.told_to_continue = False  # by an interim answer, 100 Continue
        self.answer: Answer | None = None
        self.begun = False  # whether any byte of the answer has arrived
        self.reusable = False  # whether the connection can carry another request

    @property
    def head_sent(self) -> bool:
        """Whether the last byte of the headers has gone out."""
        return not len(self._head)

    def outgoing(self) -> memoryview:
        """What is to be sent next; empty when all is out."""
        if len(self._head):
            return self._head
        return NOTHING if self._body is None else self._body.view(self.body_sent)

    def sent(self, count: int) -> None:
        if len(self._head):
            self._head = self._head[count:]
        else:
            self.body_sent += count

    def receive(self, data: bytes) -> None:
        """Take what arrived, b"" for the end of the connection. Raises ProtocolError."""
        self.begun = self.begun or bool(data)
        try:
            self._h11.receive_data(data)
            self._take_events()
        except h11.RemoteProtocolError as error:
            raise ProtocolError(str(error) if data else ENDED) from error

    def _take_events(self) -> None:
        while self.answer is None:
            event = self._h11.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.InformationalResponse):
                self.told_to_continue |= event.status_code == 100
            elif isinstance(event, h11.Response):
                self.status = event.status_code
            elif isinstance(event, h11.Data):
                self._received += event.data[: ANSWER_LIMIT - len(self._received)]
            elif isinstance(event, h11.EndOfMessage):
                self.answer = Answer(self.status, bytes(self._received))
                complete = not len(self.outgoing())
                self.reusable = complete and self._h11.their_state is h11.DONE
            elif isinstance(event, h11.ConnectionClosed):
                raise ProtocolError(ENDED)


def _headers(request: Request) -> list[tuple[str, str]]:
    headers = [("Host", request.authority), ("User-Agent", "loadtest"), *request.headers]
    if request.body is not None:
        headers.append(("Content-Type", request.body.content_type))
        if request.body.chunked:
            headers.append(("Transfer-Encoding", "chunked"))
        else:
            headers.append(("Content-Length", str(request.body.length)))
    return headers
