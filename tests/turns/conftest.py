"""Schedulers for tests, and what is left of them in the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from greenlets import FOREVER, hub_scheduler
from turns_taken import assert_at_rest

from cooperative_upload.turns.scheduler import Scheduler


@pytest.fixture
def turns() -> Iterator[Scheduler]:
    """A scheduler whose turns end at each checkpoint, and which is at rest at the end."""
    with hub_scheduler() as scheduler:
        yield scheduler
        assert_at_rest(scheduler)


@pytest.fixture
def long_turns() -> Iterator[Scheduler]:
    """A scheduler whose turns end only when their holder lets go of the loop."""
    with hub_scheduler(FOREVER) as scheduler:
        yield scheduler
        assert_at_rest(scheduler)
