"""An HTTP/2 client on h2, whose uploads can be sent frame by frame and cut anywhere."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import h2.config
import h2.connection
import h2.errors
import h2.events
from http_client import Connection, Response


class Http2Connection:
    """One HTTP/2 connection over `connection`, which its owner closes."""

    def __init__(self, connection: Connection) -> None:
        self._sock = connection.sock
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)
        self._h2.initiate_connection()
        self._headers: dict[int, dict[str, str]] = {}
        self._bodies: dict[int, bytearray] = {}
        self._interim: dict[int, list[str]] = {}
        self._ended: set[int] = set()
        self.reset_streams: set[int] = set()
        self.closed = False
        self._flush()

    def begin(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        end: bool = False,
    ) -> int:
        """Send the headers of a request; its stream's number."""
        stream: int = self._h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":path", path), (":scheme", "https")]
        fields = [(name.lower(), value) for name, value in (headers or {}).items()]
        authority = [(":authority", "localhost")]
        self._h2.send_headers(stream, [*pseudo, *authority, *fields], end_stream=end)
        self._bodies[stream] = bytearray()
        self._interim[stream] = []
        self._flush()
        return stream

    def send(self, stream: int, data: bytes, *, frame: int = 16_384, end: bool = False) -> None:
        """Send data in frames of at most `frame` bytes, as the server's windows allow."""
        for start in range(0, len(data), frame):
            piece = data[start : start + frame]
            while piece:
                room = min(
                    self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size
                )
                if not room:
                    self._receive()
                    continue
                self._h2.send_data(stream, piece[:room])
                piece = piece[room:]
                self._flush()
        if end:
            self._h2.end_stream(stream)
            self._flush()

    def post(
        self, path: str, data: bytes, headers: Mapping[str, str] | None = None, frame: int = 16_384
    ) -> Response:
        stream = self.begin("POST", path, {"Content-Length": str(len(data)), **(headers or {})})
        self.send(stream, data, frame=frame, end=True)
        return self.response(stream)

    def ping(self) -> None:
        """Send a PING, and take what has come of the server."""
        self._h2.ping(b"12345678")
        self._flush()
        self._receive()

    def cancel(self, stream: int) -> None:
        self._h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        self._flush()

    def response(self, stream: int) -> Response:
        """The whole response to one stream. Raises EOFError if there will be none."""
        while stream not in self._ended:
            if stream in self.reset_streams or self.closed:
                raise EOFError(f"no response to stream {stream}")
            self._receive()
        headers = self._headers[stream]
        return Response(int(headers[":status"]), headers, bytes(self._bodies[stream]))

    def has_ended(self, stream: int) -> bool:
        """Whether the whole response to it was received, or its reset."""
        return stream in self._ended or stream in self.reset_streams

    def interim(self, stream: int) -> list[str]:
        """The statuses of the interim responses (1xx) that were received."""
        return self._interim[stream]

    def wait_for_interim(self, stream: int) -> None:
        while not self._interim[stream]:
            self._receive()

    def response_or_none(self, stream: int) -> Response | None:
        try:
            return self.response(stream)
        except (EOFError, ConnectionError, ssl.SSLError):
            return None

    def _receive(self) -> None:
        data = self._sock.recv(65536)
        if not data:
            self.closed = True
            raise EOFError("the server closed the connection")
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self._headers[event.stream_id] = {str(k): str(v) for k, v in event.headers}
            elif isinstance(event, h2.events.InformationalResponseReceived):
                headers = {str(name): str(value) for name, value in event.headers}
                self._interim[event.stream_id].append(headers[":status"])
            elif isinstance(event, h2.events.DataReceived):
                self._bodies[event.stream_id] += event.data
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self._ended.add(event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                self.reset_streams.add(event.stream_id)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.closed = True
        self._flush()

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._sock.sendall(data)
