"""What the versions of the IETF's resumable uploads differ in, for a server.

A client of the drafts says which of them it speaks by Upload-Draft-Interop-Version. Without that
field it speaks what the RFC will be, and so do those of numbers that are not listed here: such a
client gets no 104, and learns from the final response where its upload is.
"""

from __future__ import annotations

from dataclasses import dataclass

from .structured_fields import integer

INTEROP_FIELD = "Upload-Draft-Interop-Version"


@dataclass(frozen=True)
class Dialect:
    """One version.

    interop: its number; None for requests without one.
    absent_is_complete: whether a PATCH without Upload-Complete completes the upload. Later drafts
        demand the field.
    age: the member of Upload-Limit that says for how many seconds an upload is kept.
    """

    interop: int | None
    absent_is_complete: bool = False
    age: str = "max-age"

    @property
    def announces(self) -> bool:
        """Whether its clients take a 104 (Upload Resumption Supported)."""
        return self.interop is not None


DIALECTS = {
    dialect.interop: dialect
    for dialect in (
        Dialect(None),
        Dialect(6, absent_is_complete=True, age="expires"),  # iOS 18 and tus-js-client 4
        Dialect(8),
        Dialect(9),
        Dialect(10),
    )
}


def dialect_of(interop: str) -> Dialect:
    """That of a request.

    interop: the value of its Upload-Draft-Interop-Version; "" if it has none.
    """
    return DIALECTS.get(integer(interop), DIALECTS[None])
