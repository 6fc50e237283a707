"""What our worker gives to applications beyond WSGI, by names in the environ.

SEND_INTERIM: a function (status, phrase, headers) that sends an interim response (RFC 9110 section
15.2) before the final one. Only with a body, and not where the protocol has none: HTTP/1.0, and
the uwsgi protocol, whose front ends would take it for the final one.

TRAILERS: a function that gives the fields behind a body (RFC 9110 section 6.5), by their names in
lower case; none before the body was read to its end, and none where it has no room for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

SEND_INTERIM = "cooperative_upload.send_interim"
TRAILERS = "cooperative_upload.trailers"

Headers = Sequence[tuple[str, str]]
SendInterim = Callable[[int, str, Headers], object]


def interim_response(status: int, phrase: str, headers: Headers) -> bytes:
    """One of HTTP/1.1. Raises ValueError for a text that would be more than one line."""
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers)]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header has more than one line")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def trailers_of(fields: Iterable[tuple[str | bytes, str | bytes]] | None) -> Mapping[str, str]:
    """By their names in lower case; of one that comes twice the last.

    fields: as gunicorn keeps them, for HTTP/2 as bytes; None for none.
    """
    return {_text(name).lower(): _text(value) for name, value in fields or ()}


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
