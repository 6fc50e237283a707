"""Programs that run without root's rights, which no permission bits stop."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

NOBODY = 65534

# Asked for at once: tests set another one, which others can't look into.
_PUBLIC = tempfile.gettempdir()

# Everything is imported before the rights are dropped: a library below root's home directory
# can't be read afterwards.
_PRELUDE = f"""
import io, os, sys, stat, encodings.idna, tempfile
import cooperative_upload, cooperative_upload.spool.unnamed_file
from cooperative_upload import *
from cooperative_upload.spool.unnamed_file import *
if os.getuid() == 0:
    os.setgroups([])
    os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
    os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
"""


def run_unprivileged(program: str) -> None:
    """Run a program whose asserts speak for it; raises with its stderr if it fails."""
    done = subprocess.run(
        [sys.executable, "-c", _PRELUDE + program], timeout=30, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def give_to_nobody(path: Path) -> None:
    """Make a file or directory that of run_unprivileged's programs."""
    if os.getuid() == 0:
        os.chown(path, NOBODY, NOBODY)


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    """A temporary directory that other users can look into, unlike pytest's tmp_path."""
    path = Path(tempfile.mkdtemp(prefix="cooperative-upload-", dir=_PUBLIC))
    try:
        path.chmod(0o755)
        give_to_nobody(path)
        yield path
    finally:
        shutil.rmtree(path)
