"""Which records are used again, and what does not fit into one."""

from __future__ import annotations

import pytest
from boards import new_board, upload

from cooperative_upload.monitoring.board import RECORDS
from cooperative_upload.monitoring.monitor import KEPT_SECONDS
from cooperative_upload.monitoring.overview import find_progress, overview

ID = "an-id-of-an-upload"


def test_an_upload_with_an_id_outlives_others() -> None:
    """However many without one end after it."""
    with new_board():
        upload(chosen_id=ID).ended("complete", 200)
        for _ in range(3 * RECORDS):
            upload().ended("complete", 200)
        progress = find_progress(ID)
        assert progress is not None
        assert progress.state == "done"


def test_ids_make_room_where_they_have_all_records() -> None:
    """That which ended first; and those without an id still find one."""
    with new_board():
        for number in range(RECORDS + 1):
            upload(chosen_id=f"{ID}-{number}").ended("complete", 200)
        assert find_progress(f"{ID}-0") is None
        assert find_progress(f"{ID}-1") is not None
        one = upload()
        assert find_progress(f"{ID}-1") is None
        assert one.record.number > 0


def test_what_ended_long_ago_comes_before_new_ones() -> None:
    """With an id and without: memory that was never used stays so."""
    with new_board():
        for chosen in (ID, ""):
            first = upload(chosen_id=chosen)
            record = first.record
            first.ended("complete")
            record.ended -= KEPT_SECONDS + 1
            again = upload()
            assert again._position == first._position
            again.ended("complete")
            record.ended -= KEPT_SECONDS + 1


@pytest.mark.parametrize("announced", [2**63 - 1, 2**63, 2**64 + 5])
def test_a_length_that_no_number_holds(announced: int) -> None:
    """It is shown as the largest, and not as what is left of it."""
    with new_board():
        running = upload(expected=announced, chosen_id=ID)
        assert running.record.expected == 2**63 - 1
        progress = find_progress(ID)
        assert progress is not None
        assert progress.size == 2**63 - 1
        assert overview().uploads[0].expected == 2**63 - 1
        running.ended("unread")
