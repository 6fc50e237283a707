"""tus' fields: the examples of its specification, and what clients send that is none of them."""

from __future__ import annotations

import base64
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperative_upload.protocols.problems import Problem
from cooperative_upload.protocols.tus_fields import (
    MOST_BYTES,
    MOST_METADATA_BYTES,
    checksum_algorithms,
    checksum_in,
    concatenation_in,
    length_in,
    metadata_in,
    size_in,
    written_expiry,
    written_metadata,
)
from cooperative_upload.uploads import UploadTooLarge


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_metadata_of_the_specification() -> None:
    """An example of its own: a value that is left out is empty."""
    field = "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential"
    expected = {"filename": "world_domination_plan.pdf", "is_confidential": ""}
    assert metadata_in(field) == expected
    assert written_metadata(expected) == field


@pytest.mark.parametrize("name", ["Straße.pdf", "文档.txt", "🙂", "a,b c", ""])
def test_names_in_any_script(name: str) -> None:
    assert metadata_in(f"filename {encoded(name)}, type dGV4dA==") == {
        "filename": name,
        "type": "text",
    }


KEYS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=1
)
TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"))


@given(st.dictionaries(KEYS, TEXTS, max_size=5))
def test_what_was_written_is_read(metadata: dict[str, str]) -> None:
    assert metadata_in(written_metadata(metadata)) == metadata


@pytest.mark.parametrize(
    "field",
    [
        "filename not-base64!",
        "filename d29ybGQ",  # without its padding
        "filename 6Q==",  # latin-1
        f"filename {encoded('a' + chr(0))}",
        "a dGV4dA==,a dGV4dA==",  # a key twice
        "a dGV4dA==,",
        " dGV4dA==, ,",
        "schl\xfcssel dGV4dA==",
    ],
)
def test_metadata_that_is_none(field: str) -> None:
    with pytest.raises(Problem) as caught:
        metadata_in(field)
    assert caught.value.code == 400


def test_metadata_are_limited() -> None:
    with pytest.raises(Problem) as caught:
        metadata_in("a " + "x" * MOST_METADATA_BYTES)
    assert caught.value.code == 431
    assert caught.value.members == {"limit": 8190, "received": 8192}


def test_keys_that_tus_can_not_say_are_left_out() -> None:
    """Metadata come by other protocols, too."""
    assert written_metadata({"ein Name": "x", "a": "b"}) == "a Yg=="
    assert written_metadata({}) == metadata_in("").get("", "")


@pytest.mark.parametrize(
    ("field", "size"),
    [
        ("0", 0),
        ("100", 100),
        ("000000000000000000000000007", 7),
        (str(MOST_BYTES), MOST_BYTES),
        (str(2**63), MOST_BYTES + 1),
        ("9" * 5000, MOST_BYTES + 1),  # more digits than int() takes
    ],
)
def test_sizes(field: str, size: int) -> None:
    assert size_in(field, "Upload-Length") == size


def test_a_length_that_no_file_has() -> None:
    assert length_in(str(MOST_BYTES)) == MOST_BYTES
    with pytest.raises(UploadTooLarge):
        length_in(str(2**63))


@pytest.mark.parametrize("field", ["", "-1", "+1", "1.0", "1e3", " 1", "٣", "1_000", "0x10"])
def test_what_is_no_size(field: str) -> None:
    with pytest.raises(Problem, match="It is '"):
        size_in(field, "Upload-Length")


def test_a_checksum_of_the_specification() -> None:
    algorithm, digest = checksum_in("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=")
    assert (algorithm, digest.hex()) == ("sha", "2aae6c35c94fcfb415dbe95f408b9ce91ee846ed")


def test_the_algorithms() -> None:
    """sha1 is the one that the specification demands."""
    assert checksum_algorithms() == ["sha1", "sha256", "crc32c"]


@pytest.mark.parametrize(
    "field",
    [
        "",
        "sha1",
        "md5 1B2M2Y8AsgTpgAmY7PhCfg==",
        "sha1 Kq5sNclPz7QV2+lf",
        "sha256 !",
        "crc32c \xe9",
    ],
)
def test_checksums_that_are_none(field: str) -> None:
    with pytest.raises(Problem) as caught:
        checksum_in(field)
    assert caught.value.code == 400


def test_concatenations_of_the_specification() -> None:
    assert not concatenation_in("partial").is_final
    final = concatenation_in("final;/files/a /files/b")
    assert (final.is_final, final.parts) == (True, ("a", "b"))


def test_parts_by_absolute_urls() -> None:
    """tus-js-client resolves a Location before it names it."""
    found = concatenation_in("final;https://example.org/files/a?b=c http://other/x/b/")
    assert found.parts == ("a", "b")


@pytest.mark.parametrize(
    "field", ["", "final", "final;", "partial;/a", "both;/a", "final; /", "final;http://["]
)
def test_concatenations_that_are_none(field: str) -> None:
    with pytest.raises(Problem) as caught:
        concatenation_in(field)
    assert caught.value.code == 400


def test_an_expiry_of_the_specification() -> None:
    """In the only form of a date that HTTP lets one write."""
    when = datetime.datetime(2014, 6, 25, 16, tzinfo=datetime.timezone.utc)
    assert written_expiry(when.timestamp()) == "Wed, 25 Jun 2014 16:00:00 GMT"
