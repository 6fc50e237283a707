"""What URLs and files mean together."""

from __future__ import annotations

import pytest

from cooperative_upload.server.destinations import (
    Destination,
    NoDestination,
    destinations,
    split_url,
)


@pytest.mark.parametrize(
    ("url", "storage", "key"),
    [
        ("s3://bucket/a/b.bin", "s3://bucket", "a/b.bin"),
        ("s3://bucket", "s3://bucket", ""),
        ("swift://container/a%20b c?d", "swift://container", "a%20b c?d"),
        ("file:///srv/files/a.bin", "file:///srv/files", "a.bin"),
        ("file:///srv/files/", "file:///srv/files", ""),
        ("file:///srv/a%20b/c%20d", "file:///srv/a%20b", "c d"),
        ("file:///a.bin", "file:///", "a.bin"),
    ],
)
def test_a_url_is_a_storage_and_a_key(url: str, storage: str, key: str) -> None:
    assert split_url(url) == Destination(storage, key)


@pytest.mark.parametrize("url", ["", "a.bin", "/srv/a", "s3:/bucket/a", "s3://", "file://a/b"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(NoDestination):
        split_url(url)


@pytest.mark.parametrize(
    ("files", "url", "urls"),
    [
        (["x/a"], "s3://b/k", ["s3://b/k"]),
        (["x/a"], "s3://b/k/", ["s3://b/k/a"]),
        (["x/a"], "s3://b", ["s3://b/a"]),
        (["x/a", "c"], "s3://b/k", ["s3://b/k/a", "s3://b/k/c"]),
        (["x/a"], "file:///srv/", ["file:///srv/a"]),
        (["x/a", "c"], "file:///srv/k", ["file:///srv/k/a", "file:///srv/k/c"]),
        (["-"], "swift://c/k", ["swift://c/k"]),
        (["a b"], "swift://c/", ["swift://c/a b"]),
        (["a b%"], "file:///srv/", ["file:///srv/a%20b%25"]),
        (["a"], "file:///", ["file:///a"]),
    ],
)
def test_where_files_go(files: list[str], url: str, urls: list[str]) -> None:
    assert [each.url for each in destinations(files, url)] == urls


@pytest.mark.parametrize(
    ("files", "url", "sentence"),
    [
        (["-"], "s3://b/k/", "no name of its own"),
        (["-", "a"], "s3://b/k", "no name of its own"),
        (["x/a", "y/a"], "s3://b/k/", "another of the files goes to s3://b/k/a"),
        (["/"], "s3://b/k/", "has no name"),
    ],
)
def test_what_goes_nowhere_is_refused(files: list[str], url: str, sentence: str) -> None:
    with pytest.raises(NoDestination, match=sentence):
        destinations(files, url)
