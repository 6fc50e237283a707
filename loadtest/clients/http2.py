"""Requests and answers over HTTP/2, without I/O: one at a time on each connection.

The same duties as in http1.py; h2 does the framing. One stream at a time, because what is measured
is the server's fairness among clients, not among one client's streams.
"""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import H2Error

from loadtest.clients.http1 import ANSWER_LIMIT, NOTHING, Answer, ProtocolError, Request


class Session:
    """One connection's state."""

    def __init__(self) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=True))
        self.h2.initiate_connection()

    def begin(self, request: Request) -> Exchange:
        """The next request; the one before must have its answer."""
        return Exchange(self.h2, request)


class Exchange:
    """`request` and its answer on a stream of its own."""

    def __init__(self, connection: H2Connection, request: Request) -> None:
        self._h2 = connection
        self._body = request.body
        self._stream = connection.get_next_available_stream_id()
        self._pending = NOTHING
        self._status = 0
        self._received = bytearray()
        self.body_sent = 0
        self.answer: Answer | None = None
        self.begun = False
        self.reusable = False
        connection.send_headers(self._stream, _headers(request), end_stream=request.body is None)

    def outgoing(self) -> memoryview:
        """What is to be sent next; empty when all is out, or while the server's window is shut."""
        if not len(self._pending):
            self._frame_more()
            self._pending = memoryview(self._h2.data_to_send())
        return self._pending

    def sent(self, count: int) -> None:
        self._pending = self._pending[count:]

    def receive(self, data: bytes) -> None:
        """Take what arrived, b"" for the end of the connection. Raises ProtocolError."""
        if not data:
            raise ProtocolError("the connection ended before the answer")
        self.begun = True
        try:
            for event in self._h2.receive_data(data):
                self._take(event)
        except H2Error as error:
            raise ProtocolError(str(error)) from error

    def _frame_more(self) -> None:
        if self._body is None or self._complete or self.answer is not None:
            return
        window = self._h2.local_flow_control_window(self._stream)
        data = self._body.view(self.body_sent)[: min(window, self._h2.max_outbound_frame_size)]
        if len(data):
            self.body_sent += len(data)
            self._h2.send_data(self._stream, data.tobytes(), end_stream=self._complete)

    @property
    def _complete(self) -> bool:
        return self._body is None or self.body_sent == self._body.length

    def _take(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            raise ProtocolError(f"the server ended the connection ({event.error_code})")
        if getattr(event, "stream_id", None) != self._stream or self.answer is not None:
            return
        if isinstance(event, ResponseReceived):
            self._status = int(dict(event.headers or ())[b":status"])
        elif isinstance(event, DataReceived):
            self._received += (event.data or b"")[: ANSWER_LIMIT - len(self._received)]
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, self._stream)
        elif isinstance(event, StreamEnded):
            self.answer = Answer(self._status, bytes(self._received))
            self.reusable = self._complete
        elif isinstance(event, StreamReset):
            raise ProtocolError(f"the server reset the stream ({event.error_code})")


def _headers(request: Request) -> list[tuple[str, str]]:
    headers = [
        (":method", request.method),
        (":path", request.target),
        (":scheme", "https"),
        (":authority", request.authority),
        ("user-agent", "loadtest"),
        *((name.lower(), value) for name, value in request.headers),
    ]
    if request.body is not None:
        headers.append(("content-type", request.body.content_type))
        headers.append(("content-length", str(request.body.length)))
    return headers
