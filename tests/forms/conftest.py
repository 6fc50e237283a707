"""With and without a hub, for the tests of bodies and forms that are streamed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disk import open_files
from streamed import Run, in_a_hub


@pytest.fixture(params=[in_a_hub, lambda function: function()], ids=["greenlet", "no hub"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Run something with a hub and without, and find what it left open."""

    def run(function: Callable[[], Any]) -> Any:
        try:
            return request.param(function)
        finally:
            assert open_files(tmp_path) == 0

    return run
