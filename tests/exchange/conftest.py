"""Fixtures of the tests of exchanges."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from greenlets import hub_scheduler, hub_writer


@pytest.fixture
def own_scheduler_and_writer() -> Iterator[None]:
    """New ones for each test."""
    with hub_scheduler(), hub_writer():
        yield
