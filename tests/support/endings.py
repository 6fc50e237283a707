"""Every way in which a body can end, but for those that need two clients: what its client does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from http_client import FORM_TYPE, Connection, Part, chunk, content, form, head, request

APPLICATION = "ending_application:application"
CHUNKED = {"Transfer-Encoding": "chunked"}
MOST = 5_000_000
SIZE = 1_000_000
BODY = content(SIZE)
TOO_MUCH = Part("file", content(4_000_000), "f.bin")

LIMITS = {
    "COOPERATIVE_UPLOAD_BODY_TIMEOUT_SECONDS": "0.5",
    "COOPERATIVE_UPLOAD_MIN_RATE_BYTES": "20000",
    "COOPERATIVE_UPLOAD_MIN_RATE_WINDOW_SECONDS": "0.2",
    "COOPERATIVE_UPLOAD_MAX_BODY_BYTES": str(MOST),
    "COOPERATIVE_UPLOAD_MAX_UPLOADS": "1",
}


def announced(path: str, size: int = SIZE) -> bytes:
    return head("POST", path, {"Content-Length": str(size)})


def sends(data: bytes) -> Callable[[Connection], None]:
    return lambda connection: connection.send(data)


def breaks_off(connection: Connection) -> None:
    connection.send(announced("/data") + BODY[:5000])
    connection.end_sending()


def trickles(connection: Connection) -> None:
    connection.send(announced("/data"))
    while not connection.has_answer():
        connection.send_in_pieces([b"a"])


@dataclass(frozen=True)
class Example:
    """What a client does to have a body end so, and what is seen of it.

    line: a regular expression for the line of the log; None if there is to be none.
    """

    behave: Callable[[Connection], None]
    status: int
    line: str | None


EXAMPLES = {
    "complete": Example(sends(request("POST", "/data", BODY)), 200, None),
    "drained": Example(sends(request("POST", "/unread", BODY[:200_000])), 200, None),
    "unread": Example(
        sends(request("POST", "/unread", BODY)),
        200,
        r"INFO\] Upload unread: POST /unread from 127.0.0.1, 0 of 1,000,000 bytes in [0-9.]+ s\. "
        r"The application answered without reading the rest\.",
    ),
    "incomplete": Example(
        breaks_off,
        400,
        r"INFO\] Upload incomplete: POST /data from 127.0.0.1, 5,000 of 1,000,000 bytes in .* s\. "
        r".* before the client stopped sending\.",
    ),
    "malformed": Example(
        sends(head("POST", "/data", CHUNKED) + chunk(BODY) + b"oops\r\n"),
        400,
        r"INFO\] Upload malformed: POST /data from 127.0.0.1, 1,000,000 bytes in .* s\. "
        r".* malformed after 1,000,000 bytes",
    ),
    "corrupt": Example(
        sends(request("POST", "/receive", BODY, {"Content-Digest": f"sha-256=:{'A' * 43}=:"})),
        400,
        r"INFO\] Upload corrupt: POST /receive from 127.0.0.1, 1,000,000 of 1,000,000 bytes in .* "
        r"The request body is not what was announced: its sha-256 digest is ",
    ),
    "timed_out": Example(
        sends(announced("/data?secret=1") + BODY[:-1]),
        408,
        r"INFO\] Upload timed out: POST /data from 127.0.0.1, 999,999 of 1,000,000 bytes in .* s\."
        r" .* then nothing for 0.5 seconds\.",
    ),
    "too_slow": Example(
        trickles,
        408,
        r"INFO\] Upload too slow: POST /data from 127.0.0.1, \d+ of 1,000,000 bytes in .* s\. "
        r".* at least 20,000 are expected\.",
    ),
    "too_large": Example(
        sends(announced("/data", MOST + 1)),
        413,
        r"INFO\] Upload too large: POST /data from 127.0.0.1, 0 of 5,000,001 bytes in .* s\. "
        r".* accepted are at most 5,000,000\.",
    ),
    "not_stored": Example(
        sends(request("POST", "/form", form(TOO_MUCH), {"Content-Type": FORM_TYPE})),
        507,
        r"ERROR\] Upload not stored: POST /form from 127.0.0.1, [0-9,]+ of 4,\d+,\d+ bytes in .*"
        r"No space left on device",
    ),
    "killed": Example(
        sends(request("POST", "/exit", BODY)),
        503,
        r"INFO\] Upload killed: POST /exit from 127.0.0.1, .* The worker was told to end",
    ),
}
