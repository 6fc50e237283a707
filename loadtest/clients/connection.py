"""A client's TCP connection that never blocks, with or without TLS.

The caller owns the selector: it registers `fileno()`, calls `establish()` until that says True,
then `send()` and `receive()`, which take or give what is possible at once. All that goes wrong
is an OSError (ssl.SSLError is one). Nobody but the caller closes.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import ssl
from dataclasses import dataclass

RECEIVE = 64 * 1024  # bytes per recv: answers are small
ALPN = {"http1": "http/1.1", "http2": "h2"}


@dataclass(frozen=True)
class Address:
    """Where a server listens. `host` is what the user wrote, `ip` what it was resolved to, once.

    With `tls`, `ca_file` is the certificate to trust (None: the system's), and `insecure` trusts
    any.
    """

    host: str
    port: int
    ip: str
    tls: bool = False
    ca_file: str | None = None
    insecure: bool = False
    protocol: str = "http1"

    @property
    def authority(self) -> str:
        """What belongs into the Host header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def client_context(self) -> ssl.SSLContext | None:
        """The TLS settings of all connections of one process, or None without TLS."""
        if not self.tls:
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols([ALPN[self.protocol]])
        return context


class Connection:
    """One connection to `address`, being established from the start."""

    def __init__(self, address: Address, context: ssl.SSLContext | None) -> None:
        self._address = address
        self._context = context
        self._connected = False
        self.open = False
        self.interest = selectors.EVENT_WRITE  # what `establish` waits for
        family = socket.AF_INET6 if ":" in address.ip else socket.AF_INET
        self._sock = socket.socket(family, socket.SOCK_STREAM)
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._error = self._sock.connect_ex((address.ip, address.port))

    def fileno(self) -> int:
        return self._sock.fileno()

    def establish(self) -> bool:
        """Go on with connecting; True once requests can be sent. Call it after an event."""
        if not self._connected:
            error = 0 if self._error == errno.EINPROGRESS else self._error
            error = error or self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error))
            self._connected = True
            if self._context is not None:
                self._sock = self._context.wrap_socket(
                    self._sock, server_hostname=self._address.host, do_handshake_on_connect=False
                )
        if isinstance(self._sock, ssl.SSLSocket):
            try:
                self._sock.do_handshake()
            except ssl.SSLWantReadError:
                self.interest = selectors.EVENT_READ
                return False
            except ssl.SSLWantWriteError:
                self.interest = selectors.EVENT_WRITE
                return False
            wanted = ALPN[self._address.protocol]
            if wanted == "h2" and self._sock.selected_alpn_protocol() != wanted:
                raise OSError("the server does not offer HTTP/2")
        self.open = True
        return True

    def send(self, data: memoryview) -> int:
        """How many bytes went out: 0 if none can now."""
        try:
            return self._sock.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    def receive(self) -> bytes | None:
        """Bytes that are there, b"" at the end of the connection, None if there are none now."""
        try:
            return self._sock.recv(RECEIVE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    def close(self) -> None:
        self._sock.close()
