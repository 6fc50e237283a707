"""Source distributions of what is installed, for the tests that they carry.

They are not copied into this repository: they are those of the very version that is tested,
downloaded once by pip, with the configuration of whoever runs the tests, and kept in pytest's
cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

DOWNLOAD_SECONDS = 90  # below the time-out of a test


class Unavailable(Exception):
    """The source distribution can't be downloaded; the message has pip's own words."""


def do_without(error: Unavailable) -> NoReturn:
    """Skip, since the machine may have no network; where nobody would see that, fail."""
    if os.environ.get("CI"):
        pytest.fail(str(error))
    pytest.skip(str(error))


def archive_of(project: str, version: str, cache: Path) -> Path:
    """The archive of that version; raises Unavailable.

    cache: a directory in which it is, or will be from now on.
    """
    archive = cache / f"{project}-{version}.tar.gz"
    if not archive.exists():
        download(project, version, archive)
    return archive


def download(project: str, version: str, archive: Path) -> None:
    """Put a source distribution at a path, whole or not at all.

    pip knows the package index, its mirror and what it takes to reach them. That it also asks
    the distribution for its metadata takes a few seconds.
    """
    with tempfile.TemporaryDirectory(dir=archive.parent) as directory:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
        command += ["--disable-pip-version-check", "--retries", "2", "--dest", directory]
        command += ["--no-deps", "--no-binary", project, f"{project}=={version}"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"pip took more than {DOWNLOAD_SECONDS} seconds") from error
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:]
            raise Unavailable(f"pip can't download {project} {version}: {''.join(last)}")
        (downloaded,) = Path(directory).glob("*.tar.gz")
        downloaded.replace(archive)


def unpack_tests(
    archive: Path, directory: Path, wanted: Callable[[Sequence[str]], object] = bool
) -> None:
    """Write what an archive has in its directory `tests` into a directory.

    wanted: says of the names of a path below `tests` whether it is to be written.
    """
    with tarfile.open(archive) as tar:
        for member in tar:
            _, *parts = Path(member.name).parts
            in_tests = parts[:1] == ["tests"] and len(parts) > 1 and ".." not in parts
            if in_tests and wanted(parts[1:]) and (file := tar.extractfile(member)):
                path = directory.joinpath(*parts[1:])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.read())
