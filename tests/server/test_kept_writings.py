"""What is kept between two commands: one at a time, whole or not at all, gone when it is over."""

from __future__ import annotations

from pathlib import Path

import pytest

from cooperative_upload.server.kept_writings import Kept, kept_writing
from cooperative_upload.server.local_files import LocalFault, Version

KEPT = Kept(Version(3_000_000_000, 1_795_627_016_814_062_758), {"key": "a/ä", "part": 8})


def test_what_is_kept_is_found_by_file_and_url(tmp_path: Path) -> None:
    with kept_writing(tmp_path, "a.bin", "s3://b/a") as kept:
        assert kept.read() is None
        kept.keep(KEPT)
    with kept_writing(tmp_path, "./a.bin", "s3://b/a") as kept:
        assert kept.read() == KEPT
    for file, url in (("b.bin", "s3://b/a"), ("a.bin", "s3://b/b")):
        with kept_writing(tmp_path, file, url) as kept:
            assert kept.read() is None


def test_a_shorter_one_takes_the_place_of_a_longer_one(tmp_path: Path) -> None:
    with kept_writing(tmp_path, "a", "s3://b/a") as kept:
        kept.keep(Kept(KEPT.version, {"key": "k" * 1000}))
        kept.keep(KEPT)
        assert kept.read() == KEPT


def test_nothing_is_left_of_what_was_forgotten(tmp_path: Path) -> None:
    with kept_writing(tmp_path / "new", "a", "s3://b/a") as kept:
        kept.keep(KEPT)
        kept.forget()
        assert kept.read() is None
    assert list((tmp_path / "new").iterdir()) == []
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_two_commands_do_not_send_the_same(tmp_path: Path) -> None:
    with kept_writing(tmp_path, "a", "s3://b/a") as kept:
        kept.keep(KEPT)
        again = kept_writing(tmp_path, "a", "s3://b/a")
        with pytest.raises(LocalFault, match=r"Another command is sending a to s3://b/a\."), again:
            pytest.fail("there are two")
    with kept_writing(tmp_path, "a", "s3://b/a") as kept:
        assert kept.read() == KEPT


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b'{"format": 99}', b'{"format": 1}'])
def test_what_can_not_be_read_is_nothing(tmp_path: Path, content: bytes) -> None:
    with kept_writing(tmp_path, "a", "s3://b/a") as kept:
        kept.keep(KEPT)
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    with kept_writing(tmp_path, "a", "s3://b/a") as kept:
        assert kept.read() is None
        kept.keep(KEPT)
        assert kept.read() == KEPT


def test_a_folder_that_can_not_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(LocalFault, match="can't be kept in"),
        kept_writing(tmp_path / "file", "a", "s3://b/a"),
    ):
        pytest.fail("it is there")
