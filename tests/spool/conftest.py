"""Fixtures of the tests of spools: where their files are, small thresholds, a hub or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from disk import no_leaks
from greenlets import hub_scheduler, hub_writer, in_greenlet
from spools import BATCH, MEMORY

from cooperative_upload.settings import UploadSettings


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Where the spools' files are; none of them is left over."""
    path = tmp_path / "spools"
    path.mkdir()
    with no_leaks(path):
        yield path


@pytest.fixture
def settings(directory: Path) -> UploadSettings:
    """Small thresholds."""
    return UploadSettings(
        spool_memory_bytes=MEMORY, spool_batch_bytes=BATCH, spool_directory=str(directory)
    )


@pytest.fixture(params=["greenlet", "no hub"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Runs a test in a greenlet, where threads write, and without a hub, where nobody waits."""
    if request.param == "no hub":
        yield lambda function: function()
    else:
        with hub_scheduler(), hub_writer():
            yield in_greenlet
