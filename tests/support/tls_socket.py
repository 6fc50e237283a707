"""A TLS client's socket that can end its own direction and read on.

SSLSocket can't: its unwrap() also waits for the server's end, and fails if an answer comes first.
"""

from __future__ import annotations

import socket
import ssl


class TlsSocket:
    """TLS over a connected socket, which it closes."""

    def __init__(self, raw: socket.socket, context: ssl.SSLContext) -> None:
        self.raw = raw
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
        self._flush()

    def sendall(self, data: bytes) -> None:
        # In steps, or all of it would be kept twice.
        for start in range(0, len(data), 1 << 20):
            self._tls.write(data[start : start + (1 << 20)])
            self._flush()

    def recv(self, size: int) -> bytes:
        """b"" at the end, whether the server ends TLS or only the connection."""
        while (data := self._decrypted(size)) is None:
            self._fill()
        return data

    def end_tls(self) -> None:
        """Send TLS's own end of this direction."""
        # Without anything to read it can't wait for the server's.
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            self._flush()

    def close(self) -> None:
        self.raw.close()

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self.raw.sendall(data)

    def _decrypted(self, size: int) -> bytes | None:
        """What has been received already; None if that is nothing."""
        try:
            return self._tls.read(size)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def _fill(self) -> None:
        if data := self.raw.recv(65536):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
