"""Which segments a manifest names, against objects that are put together by hand."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperative_upload.storage.segments import (
    Entry,
    Manifest,
    NotCovered,
    Segment,
    bounds_of,
    covering,
    entries,
    manifests,
    segment_name,
)

CONTENT = bytes(range(60))

_bounds = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted).map(tuple)
_pieces = st.lists(_bounds, max_size=12)


def _segments(pieces: list[tuple[int, int]]) -> list[Segment]:
    return [
        Segment(start, stop, f"/c/{start}-{stop}", _md5(CONTENT[start:stop]))
        for start, stop in pieces
    ]


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class Model:
    """What Swift gives for a path, and what it says of it."""

    def __init__(self, segments: list[Segment]) -> None:
        self.contents = {s.path: CONTENT[s.start : s.stop] for s in segments}
        self.etags = {s.path: s.etag for s in segments}

    def put(self, path: str, manifest: Manifest, most: int) -> None:
        """As the middleware does: each line is compared with what is there."""
        assert len(manifest.entries) <= most
        content, etags = b"", ""
        for line in json.loads(manifest.body()):
            part = self.contents[line["path"]]
            assert line["size_bytes"] == len(part) > 0
            assert line["etag"] == self.etags[line["path"]]
            etags += line["etag"]
            if "range" in line:
                first, last = map(int, line["range"].split("-"))
                assert 0 <= first <= last < len(part)
                part = part[first : last + 1]
                etags += f":{line['range']};"
            content += part
        assert len(content) == manifest.size
        assert manifest.etag == _md5(etags.encode())
        self.contents[path], self.etags[path] = content, manifest.etag


@given(_pieces, st.integers(0, 60), st.integers(2, 5))
def test_the_object_is_what_was_written(
    pieces: list[tuple[int, int]], size: int, most: int
) -> None:
    """Of any pieces, in any order, with manifests of so few lines that they are nested."""
    segments = _segments(pieces)
    there = {number for start, stop in pieces for number in range(start, stop)}
    if missing := set(range(size)) - there:
        with pytest.raises(NotCovered) as caught:
            covering(segments, size)
        assert caught.value.at == min(missing)
        return
    model = Model(segments)
    parts, whole = manifests(entries(covering(segments, size), size), "/c/", most)
    for part in parts:
        model.put(f"/c/{part.name}", part, most)
    model.put("/object", whole, most)
    assert model.contents["/object"] == CONTENT[:size]


@given(_pieces, st.integers(1, 60))
def test_no_segment_could_be_left_out(pieces: list[tuple[int, int]], size: int) -> None:
    try:
        chosen = covering(_segments(pieces), size)
    except NotCovered:
        return
    for one in chosen:
        others = [segment for segment in chosen if segment is not one]
        with pytest.raises(NotCovered):
            covering(others, size)


def test_more_segments_than_a_manifest_takes_are_two_levels() -> None:
    lines = [Entry(f"/c/{number}", 5, "e" * 32) for number in range(10_001)]
    parts, whole = manifests(lines, "/c/")
    assert [len(part.entries) for part in parts] == [1_000] * 10 + [1]
    assert len(whole.entries) == 11
    assert whole.size == 50_005
    assert [e.path for part in parts for e in part.entries] == [e.path for e in lines]


def test_names_are_in_the_order_of_their_numbers() -> None:
    bounds = [(0, 5), (5, 10), (10, 5 << 30), (5 << 30, 48 << 40)]
    names = [segment_name(*pair, "0a") for pair in bounds]
    assert names == sorted(names)
    assert [bounds_of(name) for name in names] == bounds


@pytest.mark.parametrize("name", ["", "manifest-1-000000", "5-10", segment_name(5, 10, "")])
def test_other_names_are_no_segments(name: str) -> None:
    assert bounds_of(name) is None
