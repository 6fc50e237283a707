"""The uwsgi protocol, as nginx speaks it."""

from __future__ import annotations


def uwsgi_packet(method: str, path: str, body: bytes, content_type: str = "") -> bytes:
    """A request as nginx's uwsgi_pass sends it."""
    variables = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": content_type,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
    }
    block = b"".join(
        len(text).to_bytes(2, "little") + text.encode()
        for pair in variables.items()
        for text in pair
    )
    return b"\0" + len(block).to_bytes(2, "little") + b"\0" + block + body
