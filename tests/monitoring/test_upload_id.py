"""The ids that clients choose: which are taken, where they stand, and what is kept of them."""

from __future__ import annotations

import re
import string
import uuid

import pytest

from cooperative_upload.monitoring.upload_id import KEY_BYTES, NAME, RULE, chosen_id, key_of

GOOD = "0123456789abcdef"
OTHER = "f" * 32

TAKEN = [
    GOOD,
    "550e8400-e29b-41d4-a716-446655440000",  # crypto.randomUUID(), and uWSGI's example
    "a" * 32,  # as long as those of the examples of nginx and lighttpd
    "Az09_.~-" * 2,
    "0" * 16,
    "x" * 128,
]
NOT_TAKEN = [
    "",
    "0" * 15,
    "x" * 129,
    "1",
    " " + GOOD,
    GOOD + " ",
    GOOD + "\n",
    GOOD + "\r\nSet-Cookie: a=b",
    GOOD + "\0",
    "0123456789 abcdef",
    "0123456789/abcdef",
    "0123456789+abcdef",
    "0123456789=abcdef",
    "0123456789,abcdef",
    "0123456789%41bcdef",
    "0123456789äabcdef",
    "٠١٢٣٤٥٦٧٨٩٠١٢٣٤٥",  # digits, but not those of ASCII
    "0123456789abcde\udcff",
    f"{GOOD},{OTHER}",  # two headers, as servers join them
]


@pytest.mark.parametrize("chosen", TAKEN)
def test_ids_that_are_taken(chosen: str) -> None:
    assert chosen_id(chosen, "") == chosen
    assert chosen_id("", f"{NAME}={chosen}") == chosen


@pytest.mark.parametrize("chosen", NOT_TAKEN)
def test_ids_that_are_not_taken(chosen: str) -> None:
    """Of the header as it is; what a query unquotes to one is tested below."""
    assert chosen_id(chosen, "") == ""


def test_the_rule_in_words_is_the_rule() -> None:
    """Each character of ASCII is taken if the rule names it, in a length that the rule names."""
    shortest, longest = map(int, re.findall(r"\d+", RULE))
    named = string.ascii_letters + string.digits + "".join(RULE.partition("any of ")[2].split())
    for character in map(chr, range(128)):
        assert bool(chosen_id(character * 20, "")) == (character in named), character
    for length in range(1, 2 * longest):
        assert bool(chosen_id("x" * length, "")) == (shortest <= length <= longest), length


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"{NAME}={GOOD}", GOOD),
        (f"a=b&{NAME}={GOOD}&c", GOOD),
        (f"{NAME}={GOOD}&{NAME}={OTHER}", GOOD),  # the first
        (f"{NAME}=&{NAME}={GOOD}", GOOD),
        (f"{NAME}=%30123456789abcde%66", GOOD),  # "0" and "f", quoted without need
        (f"{NAME}=0123456789%5Fabcde", "0123456789_abcde"),
        (f"{NAME}=0123456789%7Eabcde", "0123456789~abcde"),
        (f"{NAME}=0123456789%2Babcde", ""),
        (f"{NAME}=0123456789+abcde", ""),  # a space
        (f"{NAME}=0123456789%0Aabcde", ""),
        (f"{NAME}=0123456789%00abcde", ""),
        (f"{NAME}=0123456789%C3%A4abcde", ""),
        (f"{NAME}=0123456789%FFabcde", ""),  # not UTF-8
        (f"{NAME}=%2530123456789abcdef", ""),  # quoted twice
        (f"{NAME}=0123456789%abcdef0", ""),  # what looks like quoted
        (f"a={NAME}={GOOD}", ""),
        (f"a{NAME}={GOOD}", ""),
        (f"{NAME}a={GOOD}", ""),
        (f"x-progress-id={GOOD}", ""),  # names in a query have a case
        (NAME, ""),
        (f"{NAME}=", ""),
        (f"{NAME}[]={GOOD}", ""),
        (f"a=b;{NAME}={GOOD}", ""),
        ("&" * 1000 + f"{NAME}={GOOD}", GOOD),
        ("", ""),
    ],
)
def test_in_the_query(query: str, expected: str) -> None:
    """Unquoted once; the value of the first parameter of just that name."""
    assert chosen_id("", query) == expected


def test_the_header_goes_first() -> None:
    """Also one that is not taken: no request has another id than it says in the first place."""
    assert chosen_id(OTHER, f"{NAME}={GOOD}") == OTHER
    assert chosen_id("bad", f"{NAME}={GOOD}") == ""


def test_the_header_is_not_unquoted() -> None:
    assert chosen_id("%30" + GOOD[1:], "") == ""


def test_what_is_kept() -> None:
    """A digest: as long for each id, and not the id, nor a part of it."""
    chosen = str(uuid.uuid4())
    key = key_of(chosen)
    assert len(key) == KEY_BYTES
    assert key == key_of(chosen)
    for part in (chosen[:8], chosen.replace("-", "")[:8]):
        assert part.encode() not in key
        assert part not in key.hex()
    assert len({key_of(each) for each in TAKEN}) == len(TAKEN)


def test_nothing_is_kept_of_no_id() -> None:
    assert key_of("") == b""
