"""No acknowledged byte is lost, none is wrong, nothing is stuck or left behind: whenever it dies.

CRASHES=1000 in the environment (`make crashes` sets it) kills so many processes on each database;
by default they are a few, so that this is a test like all others.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT

_WANTED = os.environ.get("CRASHES")
CRASHES = int(_WANTED or 12)

# The same ones each time where a failure must not depend on chance.
SEED = 7 if "CI" in os.environ and _WANTED is None else random.getrandbits(30)

PROGRAM = ROOT / "tests" / "support" / "crashing_uploads.py"


@pytest.mark.timeout(120 + 10 * CRASHES)
def test_killed_at_any_moment(tmp_path: Path, database: str) -> None:
    """Processes with uploads of random sizes in random pieces, one killed after the other."""
    command = [sys.executable, str(PROGRAM), str(tmp_path), database, str(CRASHES), str(SEED)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["wrong"], report["failed"]) == ([], 0), (SEED, done.stderr[-4000:])
    assert report["uploads"] > CRASHES
