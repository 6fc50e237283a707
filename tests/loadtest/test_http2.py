"""The load test's HTTP/2 without I/O, against h2's own server side."""

from __future__ import annotations

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

from loadtest.clients.bodies import make_body, random_block
from loadtest.clients.http1 import ProtocolError, Request
from loadtest.clients.http2 import Exchange, Session

BODY = make_body("raw", 300_000, block=random_block(1, 1000))


class Server:
    """Receives a request, opening its window or not."""

    def __init__(self) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False))
        self.h2.initiate_connection()
        self.received = b""
        self.complete = False
        self.unacknowledged = 0

    def take(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, RequestReceived):
                self.stream = event.stream_id
            elif isinstance(event, DataReceived):
                self.received += event.data or b""
                self.unacknowledged += event.flow_controlled_length or 0
            elif isinstance(event, StreamEnded):
                self.complete = True

    def open_window(self) -> None:
        self.h2.acknowledge_received_data(self.unacknowledged, self.stream or 0)
        self.unacknowledged = 0

    def answer(self, status: int) -> None:
        self.h2.send_headers(self.stream or 0, [(":status", str(status))])
        self.h2.send_data(self.stream or 0, b"pong", end_stream=True)


def exchange_bytes(exchange: Exchange, server: Server, step: int = 5000) -> None:
    """Move all that can be moved, both ways."""
    moved = True
    while moved:
        moved = False
        while len(data := exchange.outgoing()):
            server.take(bytes(data[:step]))
            exchange.sent(len(data[:step]))
            moved = True
        if back := server.h2.data_to_send():
            exchange.receive(back)
            moved = True


def test_a_body_goes_out_as_far_as_the_window_is_open() -> None:
    server = Server()
    exchange = Session().begin(Request("PUT", "/raw", "host", (), BODY))
    exchange_bytes(exchange, server)
    assert len(server.received) == 65_535  # RFC 9113, section 6.9.2
    while not server.complete:
        before = len(server.received)
        server.open_window()
        exchange_bytes(exchange, server)
        assert len(server.received) > before
    assert len(server.received) == BODY.length == exchange.body_sent
    server.answer(200)
    exchange_bytes(exchange, server)
    assert exchange.answer is not None
    assert (exchange.answer.status, exchange.answer.body) == (200, b"pong")
    assert exchange.reusable


def test_a_connection_carries_one_request_after_another() -> None:
    server, session = Server(), Session()
    for _ in range(3):
        exchange = session.begin(Request("GET", "/ping", "host"))
        exchange_bytes(exchange, server)
        server.answer(200)
        exchange_bytes(exchange, server)
        assert exchange.reusable


def test_an_early_refusal_is_an_answer() -> None:
    server = Server()
    exchange = Session().begin(Request("PUT", "/raw", "host", (), BODY))
    exchange_bytes(exchange, server)
    server.answer(413)
    exchange_bytes(exchange, server)
    assert exchange.answer is not None
    assert exchange.answer.status == 413
    assert not exchange.reusable


def test_a_reset_and_an_end_are_errors() -> None:
    server = Server()
    exchange = Session().begin(Request("GET", "/ping", "host"))
    exchange_bytes(exchange, server)
    server.h2.reset_stream(server.stream or 0)
    with pytest.raises(ProtocolError, match="reset the stream"):
        exchange.receive(server.h2.data_to_send())
    with pytest.raises(ProtocolError, match="ended before the answer"):
        Session().begin(Request("GET", "/ping", "host")).receive(b"")
