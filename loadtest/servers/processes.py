"""A server as a child process: started, waited for, watched, ended with all that it started.

Each server gets a process group of its own and is ended as a group, so that workers do not outlive
their master. Nothing here knows what kind of server it is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from loadtest.clients.connection import Address
from loadtest.errors import LoadTestError, with_log
from loadtest.interrupts import held

READY_SECONDS = 30.0  # generous: a first import on a cold disk takes seconds
END_SECONDS = 3.0
TAIL_LINES = 15


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def claim_port(host: str, port: int) -> int:
    """`port` if it is free, or any free one for 0. Raises LoadTestError if it is in use."""
    if not port:
        return free_port(host)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            sentence = f"Port {port} on {host} cannot be used: {error.strerror}."
            raise LoadTestError(sentence) from None
    return port


class ServerProcess:
    """`command`, running. Use it as a context; what it says goes to `log`.

    patience: seconds between asking it to end and killing it.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        directory: Path,
        environment: Mapping[str, str],
        patience: float = END_SECONDS,
    ) -> None:
        self.name = name
        self._patience = patience
        self._log = log
        with log.open("wb") as output:
            try:
                self._process = subprocess.Popen(
                    command,
                    cwd=directory,
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # its own process group; Ctrl-C reaches only us
                )
            except OSError as error:
                raise LoadTestError(
                    f"{name} did not start: {command[0]}: {error.strerror}."
                ) from None

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        with held():
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self._patience)
            self._signal(signal.SIGKILL)
            self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raise LoadTestError with the log's tail if the server has ended."""
        status = self._process.poll()
        if status is not None:
            how = f"status {status}" if status >= 0 else f"signal {-status}"
            raise LoadTestError(with_log(f"{self.name} ended by itself ({how}).", self.tail()))

    def wait_ready(self, address: Address, path: str) -> None:
        """Come back when `path` is answered; raise LoadTestError if it is not in time."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            self.check()
            try:
                status = get_status(address, path)
            except OSError as error:
                outcome = f"the last attempt: {error}"
            else:
                if 200 <= status < 300:
                    return
                outcome = f"{path} is answered with status {status}"
            if time.monotonic() >= deadline:
                sentence = f"{self.name} was not ready after {READY_SECONDS:.0f} s ({outcome})."
                raise LoadTestError(with_log(sentence, self.tail()))
            time.sleep(0.05)

    def tail(self) -> str:
        """The last lines of the log."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-TAIL_LINES:])

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def get_status(address: Address, path: str, timeout: float = 2.0) -> int:
    """The status of one GET. Raises OSError, also for an answer that is none."""
    # Asked in HTTP/1.1 whatever the measurement speaks: every server has that too.
    context = dataclasses.replace(address, protocol="http1").client_context()
    if context is None:
        connection = http.client.HTTPConnection(address.ip, address.port, timeout=timeout)
    else:
        connection = http.client.HTTPSConnection(
            address.host, address.port, timeout=timeout, context=context
        )
    with contextlib.closing(connection):
        try:
            connection.request("GET", path, headers={"Host": address.authority})
            return connection.getresponse().status
        except http.client.HTTPException as error:
            raise OSError(f"not HTTP: {error}") from error
