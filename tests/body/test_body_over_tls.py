"""Bodies inside of TLS: what OpenSSL has already, what has not come, what breaks off."""

from __future__ import annotations

import gevent
import gevent.socket
import pytest
from body_contract import TEXT
from body_sources import SETTINGS
from greenlets import hub_scheduler, in_greenlet, join, running
from sockets import body_from, tls_pair

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.errors import IncompleteBody


def test_bytes_that_openssl_has_already() -> None:
    """Two bodies in one record: what is inside OpenSSL makes no socket readable."""
    first, second = TEXT, b"x" * 10_000

    def test() -> None:
        with tls_pair() as (client, server):
            client.sendall(first + second)
            body = CooperativeInput(body_from(server, b"", len(first)), len(first), SETTINGS)
            assert body.read() == first
            assert server.pending() == len(second)
            after = CooperativeInput(body_from(server, b"", 10_000), 10_000, SETTINGS)
            assert after.read(100) == second[:100]
            assert after.read() == second[100:]

    with hub_scheduler():
        in_greenlet(test)


def test_a_stalled_tls_client() -> None:
    """Where no record has come there is nothing to read yet: the body waits for its rest."""

    def test() -> None:
        with tls_pair() as (client, server):
            body = CooperativeInput(body_from(server, b"", 10), 10, SETTINGS)
            reader = gevent.spawn(body.read)
            for part in (b"12345", b"67890"):
                gevent.sleep(0.002)
                assert not reader.ready()
                client.sendall(part)
            join(reader)
            assert reader.value == b"1234567890"

    with hub_scheduler():
        in_greenlet(test)


def test_large_body_over_tls() -> None:
    """Many records, each of them in parts."""
    data = bytes(range(256)) * 4096

    def test() -> None:
        with tls_pair() as (client, server), running(lambda: client.sendall(data)):
            body = CooperativeInput(body_from(server, b"", len(data)), len(data))
            assert b"".join(iter(lambda: body.read(10_007), b"")) == data

    with hub_scheduler():
        in_greenlet(test)


@pytest.mark.parametrize("how", ["close", "garbage"])
def test_tls_that_breaks_off(how: str) -> None:
    """Without a farewell, or with something that is no record."""

    def test() -> None:
        with tls_pair() as (client, server):
            client.sendall(b"12345")
            raw = client.detach()
            sock = gevent.socket.socket(fileno=raw)
            if how == "garbage":
                sock.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
            with sock:
                sock.shutdown(gevent.socket.SHUT_WR)
                body = CooperativeInput(body_from(server, b"", 10), 10, SETTINGS)
                with pytest.raises(IncompleteBody, match="received 5 of 10 bytes"):
                    body.read()

    with hub_scheduler():
        in_greenlet(test)
