"""The load test's HTTP/1.1 without I/O: every answer read whole, byte by byte, and cut."""

from __future__ import annotations

import pytest

from loadtest.clients.bodies import make_body, random_block
from loadtest.clients.http1 import Exchange, ProtocolError, Request

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npong\r\n0\r\n\r\n"


def ping() -> Exchange:
    exchange = Exchange(Request("GET", "/ping", "host:1", (("X-Key", "secret"),)))
    while len(data := exchange.outgoing()):
        exchange.sent(len(data))
    return exchange


def test_a_request_goes_out_in_pieces_of_any_size() -> None:
    body = make_body("form", 1000, block=random_block(1, 300))
    whole = b""
    exchange = Exchange(Request("POST", "/upload", "host:1", (), body))
    while len(data := exchange.outgoing()):
        piece = data[:7]
        whole += piece
        exchange.sent(len(piece))
    head, _, content = whole.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /upload HTTP/1.1\r\nHost: host:1\r\n")
    assert b"Content-Length: %d" % body.length in head
    assert len(content) == body.length == exchange.body_sent


def test_a_chunked_body_is_announced_as_one() -> None:
    body = make_body("chunked", 1000, block=random_block(1, 300))
    head = bytes(Exchange(Request("PUT", "/raw", "host:1", (), body)).outgoing())
    assert b"Transfer-Encoding: chunked" in head
    assert b"Content-Length" not in head


@pytest.mark.parametrize("answer", [ANSWER, CHUNKED])
@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_an_answer_is_read_however_it_is_cut(answer: bytes, step: int) -> None:
    exchange = ping()
    for at in range(0, len(answer), step):
        assert exchange.answer is None
        exchange.receive(answer[at : at + step])
    assert exchange.answer is not None
    assert (exchange.answer.status, exchange.answer.body) == (200, b"pong")
    assert exchange.reusable


def test_an_interim_answer_is_none() -> None:
    exchange = ping()
    exchange.receive(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert not exchange.told_to_continue
    exchange.receive(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert exchange.told_to_continue
    assert exchange.status == 0
    exchange.receive(ANSWER)
    assert exchange.answer is not None
    assert exchange.answer.status == 200


def test_the_status_is_known_before_the_answer_is_whole() -> None:
    exchange = ping()
    exchange.receive(ANSWER[:-1])
    assert exchange.status == 200
    assert exchange.answer is None


def test_the_headers_are_sent_before_the_body() -> None:
    body = make_body("raw", 10, block=random_block(1, 300))
    exchange = Exchange(Request("PUT", "/raw", "host:1", (), body))
    exchange.sent(len(exchange.outgoing()) - 1)
    assert not exchange.head_sent
    exchange.sent(1)
    assert exchange.head_sent
    assert exchange.body_sent == 0


def test_a_connection_that_the_server_will_close_is_not_used_again() -> None:
    exchange = ping()
    exchange.receive(ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert exchange.answer is not None
    assert not exchange.reusable


def test_an_early_answer_leaves_the_connection_unusable() -> None:
    body = make_body("raw", 1000, block=random_block(1, 300))
    exchange = Exchange(Request("PUT", "/raw", "host:1", (), body))
    exchange.receive(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
    assert exchange.answer is not None
    assert exchange.answer.status == 413
    assert not exchange.reusable


@pytest.mark.parametrize("cut", range(len(ANSWER)))
def test_an_answer_that_ends_early_is_an_error(cut: int) -> None:
    exchange = ping()
    with pytest.raises(ProtocolError):  # noqa: PT012 - either step may raise it
        exchange.receive(ANSWER[:cut])
        exchange.receive(b"")
    assert exchange.answer is None
    assert exchange.begun == (cut > 0)


def test_what_is_not_http_is_an_error() -> None:
    with pytest.raises(ProtocolError):
        ping().receive(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
