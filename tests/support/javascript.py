"""The clients in JavaScript, as npm has installed them."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT

FOLDER = ROOT / "tests" / "javascript"
_READY = FOLDER / "node_modules" / "ready"

needs_javascript = pytest.mark.skipif(
    shutil.which("npm") is None, reason="needs Debian's packages nodejs and npm"
)


def tus_in_node(**options: Any) -> dict[str, Any]:
    """What tus-js-client says in the end; see tus_in_node.mjs."""
    _check_installed()
    command = ["node", "tus_in_node.mjs", json.dumps(options)]
    done = subprocess.run(
        command, cwd=FOLDER, capture_output=True, text=True, check=True, timeout=60
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@cache
def bundle() -> str:
    """The script of a page that has the clients."""
    _check_installed()
    esbuild = Path("node_modules") / ".bin" / "esbuild"
    command = [str(esbuild), "in_browser.mjs", "--bundle", "--format=iife", "--log-level=error"]
    return subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True).stdout


def _check_installed() -> None:
    if not _READY.exists():
        pytest.fail("there are no clients in JavaScript: `make test` installs them")
