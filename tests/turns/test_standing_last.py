"""Who stands last has the turns that nobody else wants, and every sixteenth."""

from __future__ import annotations

import gevent
import pytest
from greenlets import hub_scheduler, join, running

from cooperative_upload.turns.scheduler import Scheduler


def turns_of(scheduler: Scheduler, lasts: int, uploads: int, rounds: int) -> list[str]:
    """Who had a turn, until each upload has had so many (or each of the others, if there are
    no uploads)."""
    record: list[str] = []

    def upload() -> None:
        for _ in range(rounds):
            scheduler.checkpoint()
            record.append("upload")

    def last(until: int) -> None:
        while until:
            scheduler.stand_last()
            record.append("last")
            until -= 1

    if not uploads:
        join(*(gevent.spawn(last, rounds) for _ in range(lasts)))
        return record
    with running(*[lambda: last(-1)] * lasts):
        join(*(gevent.spawn(upload) for _ in range(uploads)))
        return list(record)


@pytest.mark.parametrize("lasts", [1, 50])
@pytest.mark.parametrize("uploads", [2, 5])
def test_one_turn_in_sixteen(lasts: int, uploads: int) -> None:
    """However many they are. Two uploads: one of them always stands in line."""
    with hub_scheduler() as scheduler:
        record = turns_of(scheduler, lasts, uploads, 160)
    shown = record[: 160 * uploads]
    assert 160 * uploads / 20 <= shown.count("last") <= 160 * uploads / 12


def test_alone_they_have_all_turns() -> None:
    """One after the other."""
    with hub_scheduler() as scheduler:
        assert turns_of(scheduler, 3, 0, 10) == ["last"] * 30


def test_who_is_killed_leaves_the_end_of_the_line() -> None:
    """Nobody is left, and the next upload has its turn."""
    with hub_scheduler() as scheduler:
        waiting = gevent.spawn(scheduler.stand_last)
        waiting.start()
        gevent.sleep(0)
        waiting.kill()
        assert scheduler.statistics().queue_length == 0
        join(gevent.spawn(scheduler.checkpoint))
