"""A real OpenStack Swift on loopback, with tempauth, static large objects, TempURLs and quotas."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest
from checkout import SUPPORT
from live_server import wait_until
from reserved_port import bound_socket, port_of

# Debian's python3-swift belongs to Debian's Python. Another that has Swift may be named.
PYTHON = os.environ.get("SWIFT_PYTHON", "/usr/bin/python3")

TEMPURL_KEY = "a key of the account"

# Its resolver takes a third of the time that an import of eventlet takes.
QUICK_START = {"EVENTLET_NO_GREENDNS": "yes"}


@dataclass(frozen=True)
class Swift:
    """A running Swift."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def auth_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/auth/v1.0"

    @property
    def variables(self) -> dict[str, str]:
        """Where its client's users keep their credentials."""
        return {"ST_AUTH": self.auth_url, "ST_USER": "test:tester", "ST_KEY": "testing"}

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, bytes]:
        """Status and body of a request of the account's owner; the path begins with a slash."""
        status, _, content = self._asked(method, path, headers or {}, body)
        return status, content

    def headers(self, path: str) -> Message:
        """What is said of an object or a container."""
        status, headers, _ = self._asked("HEAD", path, {}, b"")
        assert status in (200, 204)
        return headers

    def _asked(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Message, bytes]:
        url = f"http://127.0.0.1:{self.port}/v1/AUTH_test{path}"
        request = urllib.request.Request(url, body or None, method=method)
        for name, value in {"X-Auth-Token": self._token(), **headers}.items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def names(self, container: str) -> list[str]:
        """Of the objects in a container."""
        status, body = self.ask("GET", f"/{container}")
        assert status in (200, 204, 404)
        return body.decode().splitlines() if status == 200 else []

    @functools.cache  # noqa: B019 - as long as the server
    def _token(self) -> str:
        request = urllib.request.Request(self.auth_url)
        request.add_header("X-Auth-User", "test:tester")
        request.add_header("X-Auth-Key", "testing")
        with urllib.request.urlopen(request, timeout=5) as answer:
            return str(answer.headers["X-Auth-Token"])


def why_no_swift() -> str | None:
    """What is missing for one here; None if nothing is."""
    try:
        found = subprocess.run([PYTHON, "-c", "import swift"], capture_output=True, timeout=30)
    except OSError:
        return f"needs {PYTHON} with Swift"
    if found.returncode:
        return f"needs Swift for {PYTHON}: Debian's python3-swift"
    with tempfile.NamedTemporaryFile() as file:
        try:
            os.setxattr(file.name, "user.swift.metadata", b"x")
        except OSError as error:
            return f"Swift needs extended attributes in {tempfile.gettempdir()}: {error.strerror}"
    return None


@contextlib.contextmanager
def running_swift() -> Iterator[Swift]:
    """A Swift with an empty account; skips where none can run."""
    if reason := why_no_swift():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="swift-") as name, bound_socket() as reserved:
        folder, port = Path(name), port_of(reserved)
        command = [PYTHON, "-W", "ignore", str(SUPPORT / "swift_process.py"), name, str(port)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=folder, env={**os.environ, **QUICK_START}
            )
        with process:
            try:
                swift = Swift(port, folder, process)
                wait_until(lambda: _answers(swift), "an answer of Swift", seconds=30)
                yield swift
            finally:
                process.kill()


def _answers(swift: Swift) -> bool:
    log = (swift.folder / "log").read_text()
    assert swift.process.poll() is None, log
    try:
        status, _ = swift.ask("POST", "", {"X-Account-Meta-Temp-URL-Key": TEMPURL_KEY})
    except OSError:
        return False
    return status == 204
