"""The duties of an HTTP version, and the choice of one.

A session is one connection's state; `begin` makes the exchange of the next request on it. The
caller moves bytes: it sends what `outgoing` gives, tells `sent` how much of it went out, and hands
what arrives to `receive`, which raises ProtocolError if that is no answer.
"""

from __future__ import annotations

from typing import Protocol

from loadtest.clients import http1
from loadtest.clients.http1 import Answer, Request


class Exchange(Protocol):
    """One request and its answer."""

    body_sent: int
    answer: Answer | None
    begun: bool  # whether any byte of the answer has arrived
    reusable: bool  # whether the connection can carry another request

    def outgoing(self) -> memoryview:
        """What is to be sent next; empty if there is nothing now."""

    def sent(self, count: int) -> None:
        """That many bytes of it went out."""

    def receive(self, data: bytes) -> None:
        """That arrived; b"" is the end of the connection."""


class Session(Protocol):
    """One connection."""

    def begin(self, request: Request) -> Exchange:
        """The next request."""


def make_session(protocol: str) -> Session:
    """For a new connection that speaks `protocol`: http1 or http2."""
    if protocol == "http1":
        return http1.Session()
    from loadtest.clients import http2  # optional: it needs the package h2

    return http2.Session()
