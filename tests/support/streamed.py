"""Bodies and forms for the tests of what is streamed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from greenlets import hub_scheduler, hub_writer, in_greenlet

DATA = bytes(range(256)) * 8000  # two megabytes: far more than stays in memory
SHA256 = hashlib.sha256(DATA)
FORM = "multipart/form-data; boundary=boundary"
Run = Callable[[Callable[[], Any]], Any]


def in_a_hub(function: Callable[[], Any]) -> Any:
    with hub_scheduler(), hub_writer():
        return in_greenlet(function)


def form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """A multipart body of (name, file name, content)."""
    pieces = []
    for name, filename, content in parts:
        disposition = f'form-data; name="{name}"'
        if filename is not None:
            disposition += f'; filename="{filename}"'
        pieces.append(
            f"--boundary\r\nContent-Disposition: {disposition}\r\nX-Of: {name}\r\n\r\n".encode()
            + content
            + b"\r\n"
        )
    return b"".join(pieces) + b"--boundary--\r\n"


def content_digest(digest: bytes, algorithm: str = "sha-256") -> str:
    return f"{algorithm}=:{base64.b64encode(digest).decode()}:"
