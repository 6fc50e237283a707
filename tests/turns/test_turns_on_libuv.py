"""The rules of the turns on gevent's other loop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = [
    str(Path(__file__).with_name(name))
    for name in ("test_turns.py", "test_ends_of_turns.py", "test_which_scheduler.py")
]


@pytest.mark.skipif("GEVENT_LOOP" in os.environ, reason="runs all of this on the other loop")
def test_all_of_it_on_libuv() -> None:
    """The turns keep their rules on gevent's other loop, as far as it can keep them."""
    environment = {**os.environ, "GEVENT_LOOP": "libuv-cffi"}
    probe = "import gevent; assert 'libuv' in type(gevent.get_hub().loop).__module__"
    found = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True)
    if found.returncode:
        pytest.skip("gevent was built without libuv")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *FILES]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
