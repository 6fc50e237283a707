"""Structured fields, as far as uploads have them, and the dialects of the IETF's drafts."""

from __future__ import annotations

import pytest

from cooperative_upload.protocols.dialects import DIALECTS, dialect_of
from cooperative_upload.protocols.structured_fields import (
    MOST,
    boolean,
    integer,
    written_boolean,
    written_dictionary,
)


@pytest.mark.parametrize(
    ("field", "value"),
    [("0", 0), (" 25000000 ", 25_000_000), ("1;parameter=x", 1), (str(MOST), MOST)],
)
def test_integers(field: str, value: int) -> None:
    assert integer(field) == value


@pytest.mark.parametrize(
    "field", ["", "-1", "1.0", "?1", '"1"', "1, 2", str(MOST + 1), "\u0663", "x"]
)
def test_fields_that_are_no_integer_are_ignored(field: str) -> None:
    assert integer(field) is None


@pytest.mark.parametrize(("field", "value"), [("?1", True), ("?0", False), ("?1;a", True)])
def test_booleans(field: str, value: bool) -> None:
    assert boolean(field) is value
    assert boolean(written_boolean(value)) is value


@pytest.mark.parametrize("field", ["", "1", "true", "?2", "?1, ?0", "? 1"])
def test_fields_that_are_no_boolean_are_ignored(field: str) -> None:
    assert boolean(field) is None


def test_dictionaries() -> None:
    """As the draft's examples have them; what no Integer can say is the largest of them."""
    assert written_dictionary({"max-size": 1_234_567_890}) == "max-size=1234567890"
    assert (
        written_dictionary({"max-size": 2**63, "max-age": 3600})
        == f"max-size={MOST}, max-age=3600"
    )


@pytest.mark.parametrize("interop", ["6", "8", "9", "10"])
def test_dialects_by_their_numbers(interop: str) -> None:
    dialect = dialect_of(interop)
    assert dialect.interop == int(interop)
    assert dialect.announces


@pytest.mark.parametrize("interop", ["", "3", "11", "x", "6, 6", "?1"])
def test_other_numbers_are_as_none(interop: str) -> None:
    """What is new speaks most likely what the last one spoke."""
    assert dialect_of(interop) is DIALECTS[None]
    assert not DIALECTS[None].announces


def test_what_version_6_had_of_its_own() -> None:
    assert {interop for interop, dialect in DIALECTS.items() if dialect.absent_is_complete} == {6}
    assert {interop for interop, dialect in DIALECTS.items() if dialect.age == "expires"} == {6}
