"""A port that stays with a test while the server that listens on it is away."""

from __future__ import annotations

import socket


def bound_socket(port: int = 0) -> socket.socket:
    """Bound to a loopback port, by default to one that nobody has; it does not listen.

    The port can be bound in the same way once more, and is given to nobody else.
    """
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port
