"""The journal of a writing: whole entries count, others spoil nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cooperative_upload.storage.local_journal import entry, ranges_in, token_in
from cooperative_upload.storage.ranges import Ranges

_pairs = st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 40)), max_size=8)
TOKEN = {"id": "0", "key": "日本", "metadata": {"a": "line\nline"}}


@given(_pairs, st.floats(0, 1))
def test_a_torn_entry_counts_for_nothing(pairs: list[tuple[int, int]], cut: float) -> None:
    """Nor does it take with it what another process adds behind."""
    entries = [entry(pair) for pair in pairs]
    journal = entry(TOKEN) + b"".join(entries)
    torn = journal[: int(cut * len(journal))]
    ends = [len(entry(TOKEN)) + sum(map(len, entries[: n + 1])) for n in range(len(entries))]
    # The last line feed is no part of what an entry says.
    whole = [pair for pair, end in zip(pairs, ends, strict=True) if end - 1 <= len(torn)]
    assert ranges_in(torn) == Ranges.of(whole)
    assert ranges_in(torn + entry((3, 5))) == Ranges.of([*whole, (3, 5)])


def test_the_token_is_given_back() -> None:
    journal = entry(TOKEN) + entry((0, 5))
    assert token_in(journal) == TOKEN
    assert token_in(journal[:20]) is None
    assert token_in(b"") is None


def test_what_was_cut_off_is_not_there() -> None:
    """Until it is written again."""
    journal = entry((0, 10)) + entry((20, 30)) + entry(5)
    assert ranges_in(journal) == Ranges(((0, 5),))
    assert ranges_in(journal + entry((4, 9))) == Ranges(((0, 9),))


def test_zeros_of_a_lost_block() -> None:
    """What a file system shows behind a loss of power."""
    assert ranges_in(entry((0, 5)) + bytes(4096) + entry((7, 9))) == Ranges(((0, 5), (7, 9)))
