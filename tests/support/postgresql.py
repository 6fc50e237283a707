"""A PostgreSQL of one's own: a cluster of an unprivileged user, on a socket in its folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

# Seconds. It starts in one or two.
DEADLINE = 60.0

_USER = "uploads"

# Debian's, of any version; others have them on the PATH.
_DEBIAN = Path("/usr/lib/postgresql")


def programs() -> Path:
    """Where initdb and postgres are; skips the test where they are not installed."""
    found = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    path = str(found[-1]) if found else shutil.which("initdb")
    if path is None:
        pytest.skip("needs PostgreSQL's server (Debian: postgresql)")
    return Path(path).parent


class PostgreSQL:
    """A cluster that runs while it is a context. fsync is on, as it is by default."""

    def __init__(self) -> None:
        self._programs = programs()
        self._folder = Path(tempfile.mkdtemp(prefix="cooperative-upload-pg-", dir="/tmp"))
        self._data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count()
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:  # it refuses to run as root
            nobody = pwd.getpwnam("nobody")
            os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

    def __enter__(self) -> PostgreSQL:
        try:
            options = ["--auth=trust", "--no-sync", "--locale=C", "--encoding=UTF8"]
            self._run("initdb", *options, f"--username={_USER}", "--pgdata", str(self._data))
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = (self._folder / "log").open("ab")
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-h", ""]
        command += ["-k", str(self._folder)]
        with log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._folder, **self._as
            )
        give_up = time.monotonic() + DEADLINE
        while not self._answers():
            assert time.monotonic() < give_up, (self._folder / "log").read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it at once, as a machine does that loses power."""
        if self._process is not None:
            self._process.send_signal(3)  # SIGQUIT: it ends without a word to anybody
            self._process.wait(DEADLINE)
            self._process = None

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """It does not run while the block does."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def new_database(self) -> str:
        """The URL of an empty one: a schema of its own, which is made faster than a database."""
        name = f"uploads_{next(self._numbers)}"
        self._run(
            "psql", "-h", str(self._folder), "-U", _USER, "-c", f"CREATE SCHEMA {name}", "postgres"
        )
        options = f"-csearch_path%3D{name}"
        return f"postgresql://{_USER}@/postgres?host={self._folder}&options={options}"

    def _answers(self) -> bool:
        command = [str(self._programs / "pg_isready"), "-h", str(self._folder), "-U", _USER]
        done = subprocess.run(command, capture_output=True, check=False)
        return done.returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, check=False, **self._as
        )
        assert done.returncode == 0, done.stderr
