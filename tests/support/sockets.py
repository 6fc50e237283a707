"""Pairs of connected gevent sockets, the client's first: local, over TCP, and with TLS."""

from __future__ import annotations

import contextlib
import functools
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import gevent
import gevent.socket
import gevent.ssl
import trustme
from greenlets import join

from cooperative_upload.body.sources import SocketSource
from cooperative_upload.body.tls_records import receiver

Pair = Callable[[], AbstractContextManager[tuple[Any, Any]]]


@contextlib.contextmanager
def socket_pair() -> Iterator[tuple[Any, Any]]:
    """Two connected gevent sockets: the client's and the server's."""
    client, server = gevent.socket.socketpair()
    with client, server:
        yield client, server


@contextlib.contextmanager
def tcp_pair() -> Iterator[tuple[Any, Any]]:
    """As socket_pair(), by TCP: with resets, and with a kernel that acknowledges by itself."""
    with gevent.socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = gevent.socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        yield client, server


@functools.cache
def _certificates() -> tuple[trustme.CA, trustme.LeafCert]:
    authority = trustme.CA()
    return authority, authority.issue_cert("localhost")


def tls_contexts() -> tuple[Any, Any]:
    """The client's and the server's, new ones."""
    authority, certificate = _certificates()
    server = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(server)
    client = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return client, server


@contextlib.contextmanager
def tls_pair(below: Pair = socket_pair) -> Iterator[tuple[Any, Any]]:
    """As socket_pair(), with TLS."""
    for_client, for_server = tls_contexts()
    with below() as (client, server):
        handshake = gevent.spawn(for_client.wrap_socket, client.dup(), server_hostname="localhost")
        with for_server.wrap_socket(server.dup(), server_side=True) as secure_server:
            join(handshake)
            secure_client: Any = handshake.value
            with secure_client:
                client.close()
                server.close()
                yield secure_client, secure_server


def body_from(sock: Any, head: bytes, length: int) -> SocketSource:
    """The body on a connection of either kind, as the worker takes it."""
    return SocketSource(receiver(sock), head, length)
