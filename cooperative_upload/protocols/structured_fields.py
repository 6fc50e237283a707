"""Structured fields (RFC 9651) as far as uploads use them: Integers, Booleans, Dictionaries.

The IETF's draft wants a field whose value is not what it should be to be ignored, so that nothing
here raises for what a client has sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import http_sf

MOST = 999_999_999_999_999
"""The largest Integer (RFC 9651 section 3.3.1)."""


def integer(field: str) -> int | None:
    """The value of a field that is an Integer of at least 0; None for any other."""
    value = _item(field)
    return value if type(value) is int and value >= 0 else None


def boolean(field: str) -> bool | None:
    """The value of a field that is a Boolean; None for any other."""
    value = _item(field)
    return value if type(value) is bool else None


def written_boolean(value: bool) -> str:
    """The field that says so."""
    return http_sf.ser(value)


def written_dictionary(members: Mapping[str, int]) -> str:
    """The field with these members; one that is larger than any Integer says the largest."""
    return http_sf.ser({name: min(value, MOST) for name, value in members.items()})


def _item(field: str) -> Any:
    """The bare item; parameters are passed over, as the draft defines none."""
    try:
        parsed: Any = http_sf.parse(field.encode("latin-1"), tltype="item")
    except ValueError:  # StructuredFieldError, and UnicodeEncodeError
        return None
    return parsed[0]
