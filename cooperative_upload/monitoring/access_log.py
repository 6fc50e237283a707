"""What gunicorn's access log can say of a body.

gunicorn's access_log_format takes any variable of the WSGI environ, as %({name}e)s. Those named
here are worked out when the line is written; without a body gunicorn writes "-".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .monitor import Upload

# By the names in the environ.
ATOMS: dict[str, tuple[str, Callable[[Upload], float]]] = {
    "cooperative_upload.received": (
        "bytes of the body that were received",
        lambda upload: int(upload.record.received),
    ),
    "cooperative_upload.arrival": (
        "seconds from the headers to the last byte of the body",
        lambda upload: upload.seconds_to_arrive,
    ),
    "cooperative_upload.turn_wait": (
        "of these, seconds that it waited for turns and for a place",
        lambda upload: float(upload.record.waited_for_turns),
    ),
    "cooperative_upload.client_wait": (
        "seconds that it waited for the client",
        lambda upload: float(upload.record.waited_for_client),
    ),
    "cooperative_upload.disk_wait": (
        "seconds that it waited for the disk",
        lambda upload: float(upload.record.waited_for_disk),
    ),
}


class _Atom:
    """A number that is worked out when it is written."""

    __slots__ = ("_number", "_upload")

    def __init__(self, upload: Upload, number: Callable[[Upload], float]) -> None:
        self._upload = upload
        self._number = number

    def __str__(self) -> str:
        number = self._number(self._upload)
        return f"{number:.3f}" if isinstance(number, float) else str(number)


def add_atoms(environ: dict[str, Any], upload: Upload) -> None:
    """Put them into a request's environ."""
    for name, (_, number) in ATOMS.items():
        environ[name] = _Atom(upload, number)
