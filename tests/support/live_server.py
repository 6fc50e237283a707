"""Real gunicorn processes for the tests: started, waited for, watched and ended.

A LiveServer has a process group and a directory of its own, so that whatever it leaves behind,
a process or a file, is found. Nothing here waits longer than its deadline.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import ClassVar, TypeVar

import psutil
from checkout import SUPPORT
from http_client import DEADLINE, Connection
from tls_socket import TlsSocket

T = TypeVar("T")

COOPERATIVE = "cooperative_upload.Worker"
STOCK = "gevent"


def wait_until(condition: Callable[[], T | None], what: str, seconds: float = DEADLINE) -> T:
    """The first true value of condition(); an AssertionError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} seconds: {what}"
        time.sleep(0.01)
    return value


@dataclass(frozen=True)
class Gunicorn:
    """One installation of gunicorn, by the interpreter that imports it."""

    python: Path

    @cached_property
    def version(self) -> tuple[int, ...]:
        code = "import importlib.metadata as m; print(m.version('gunicorn'))"
        command = [str(self.python), "-c", code]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return tuple(int(number) for number in text.strip().split("."))

    def command(self, application: str, options: tuple[str, ...]) -> list[str]:
        # The control socket has one path for all servers of a user.
        alone = ["--no-control-socket"] if self.version >= (25, 1) else []
        # Not -m: what USR2 starts anew would then find gunicorn's http in place of Python's.
        script = self.python.parent / "gunicorn"
        return [str(self.python), str(script), *alone, *options, application]


@dataclass(frozen=True)
class Certificate:
    """A server's certificate with its key, and what a client needs to trust it."""

    chain: Path
    authority: Path
    client_context: ssl.SSLContext

    def options(self) -> tuple[str, ...]:
        return ("--certfile", str(self.chain), "--keyfile", str(self.chain))


def environment_with(additions: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without settings of ours or gunicorn's, and with `additions`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COOPERATIVE_UPLOAD_", "GUNICORN_", "GEVENT_"))
    }
    return {**kept, "PYTHONPATH": str(SUPPORT), "PYTHONDONTWRITEBYTECODE": "1", **additions}


class LiveServer:
    """gunicorn on a free loopback port, or on a Unix socket; a context manager.

    worker: None to leave it to the options.
    options: gunicorn's, after --bind and the like, which they may override.
    environment: variables to add to those of this process.
    ready: what to wait for after the start; None for an answer to GET /ping.
    """

    # For the report of a failing test, which may have ended its server when it is made.
    running: ClassVar[list[LiveServer]] = []
    logs_of_ended: ClassVar[list[str]] = []

    def __init__(
        self,
        gunicorn: Gunicorn,
        *options: str,
        application: str = "applications:application",
        worker: str | None = COOPERATIVE,
        unix: bool = False,
        certificate: Certificate | None = None,
        environment: Mapping[str, str] | None = None,
        ready: Callable[[LiveServer], object] | None = None,
    ) -> None:
        self.gunicorn = gunicorn
        self._temporary = tempfile.TemporaryDirectory(prefix="live-server-")
        self.directory = Path(self._temporary.name)
        self.spool_directory = self.directory / "spool"
        self.spool_directory.mkdir()
        self.log_path = self.directory / "server.log"
        self._certificate = certificate
        self._unix_path = str(self.directory / "socket") if unix else None
        self._ready = ready
        self._environment = environment_with(
            {
                "COOPERATIVE_UPLOAD_SPOOL_DIRECTORY": str(self.spool_directory),
                "TMPDIR": str(self.spool_directory),
                **(environment or {}),
            }
        )
        bind = f"unix:{self._unix_path}" if unix else "127.0.0.1:0"
        defaults = ("--bind", bind, "--keep-alive", "10")
        worker_class = ("--worker-class", worker) if worker else ()
        patience = ("--graceful-timeout", "5", "--worker-tmp-dir", str(self.directory))
        tls = certificate.options() if certificate else ()
        options = (*defaults, *worker_class, *patience, *tls, *options)
        self._command = gunicorn.command(application, options)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> LiveServer:
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(self)
        try:
            self._wait_until_ready()
        except BaseException:
            self._kill_all()
            self._forget()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.stop()
            if error is None:
                self.check_nothing_left()
        finally:
            self._kill_all()
            self._forget()

    @property
    def pid(self) -> int:
        """The master's process id."""
        assert self.process is not None
        return self.process.pid

    @cached_property
    def port(self) -> int:
        """The port that the system chose, as the log tells it."""

        def listening() -> str | None:
            self._check_alive()
            found = re.search(r"Listening at: \w+://127\.0\.0\.1:(\d+)", self.log())
            return found and found.group(1)

        return int(wait_until(listening, "a line that says where it listens") or 0)

    @property
    def url(self) -> str:
        """Where other clients find it, without a slash at the end."""
        # A certificate is for the name, which some clients look up to ::1 first.
        return f"{'https' if self._certificate else 'http'}://localhost:{self.port}"

    def connect(self, *, protocols: tuple[str, ...] = ()) -> Connection:
        """A new connection, with TLS if the server has a certificate."""
        sock = self.connect_socket()
        if self._certificate is None:
            return Connection(sock)
        context = self._certificate.client_context
        context.set_alpn_protocols(list(protocols or ("http/1.1",)))
        try:
            return Connection(TlsSocket(sock, context))
        except BaseException:
            sock.close()
            raise

    def connect_socket(self) -> socket.socket:
        """A new connection below TLS."""
        sock = socket.socket(socket.AF_UNIX if self._unix_path else socket.AF_INET)
        sock.settimeout(DEADLINE)
        try:
            sock.connect(self._unix_path or ("127.0.0.1", self.port))
            if self._unix_path is None:  # what is sent in pieces shall arrive in pieces
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            sock.close()
            raise
        return sock

    def answering_worker(self) -> int:
        """The process id of the worker that answers a new connection."""
        with self.connect() as connection:
            connection.send_request("GET", "/pid", headers={"Connection": "close"})
            return int(connection.response().body)

    def workers(self) -> list[int]:
        """The process ids of the workers, dead ones left out."""
        alive = []
        for child in psutil.Process(self.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                if child.status() != psutil.STATUS_ZOMBIE:
                    alive.append(child.pid)
        return alive

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the master."""
        os.kill(self.pid, number)

    def wait(self, seconds: float = DEADLINE) -> int:
        """The exit status of the master, which has to end within `seconds`."""
        assert self.process is not None
        return self.process.wait(seconds)

    def stop(self) -> None:
        """End the master and its workers at once; nothing if it has ended."""
        assert self.process is not None
        if self.process.poll() is None:
            self.signal(signal.SIGQUIT)
        self.process.wait(DEADLINE)

    def check_nothing_left(self) -> None:
        """Fail if a process of the group still runs or a file is left in the spool directory."""
        wait_until(lambda: not self._group(), "the end of all processes of the group")
        assert self.spooled_names() == []

    def spooled_names(self) -> list[str]:
        """The files in the spool directory."""
        return os.listdir(self.spool_directory)

    def spooled_descriptors(self, pid: int) -> list[str]:
        """What a worker has open in the spool directory, files without a name too."""
        return [path for path in descriptors(pid) if path.startswith(str(self.spool_directory))]

    def wait_for_spool(self) -> None:
        """Return when the first worker has a spool on disk, that is in the middle of a part."""
        (worker,) = self.workers()
        wait_until(lambda: self.spooled_descriptors(worker), "a spool on disk")

    def log(self) -> str:
        """All that the server has written, to the standard outputs and its log alike."""
        return self.log_path.read_text(errors="replace")

    def own_tracebacks(self) -> bool:
        """Whether a traceback in the log leads through the package or the applications.

        gunicorn and gevent log some of their own: where a client of the uwsgi protocol, or of
        HTTP/2 before gunicorn 27, closes its connection, and where an old gevent ends. The stack
        of whoever held the loop, on a busy machine, is none.
        """
        tracebacks = re.findall(r"Traceback \(most recent call last\):\n((?:  .*\n)*)", self.log())
        frame = r'File ".*(/cooperative_upload/\w+\.py|/tests/applications\.py)"'
        return any(re.search(frame, traceback) for traceback in tracebacks)

    def log_tail(self, lines: int = 60) -> str:
        return "\n".join(self.log().splitlines()[-lines:])

    def wait_for_log(self, text: str) -> None:
        wait_until(lambda: text in self.log(), f"{text!r} in the log")

    def _wait_until_ready(self) -> None:
        if self._ready is not None:
            self._ready(self)
            return
        if self._unix_path is not None:
            wait_until(lambda: self._lives_and(os.path.exists(str(self._unix_path))), "a socket")
        wait_until(lambda: self._lives_and(self._answers()), "an answer to GET /ping")

    def _answers(self) -> bool:
        try:
            with self.connect() as connection:
                connection.send_request("GET", "/ping", headers={"Connection": "close"})
                return connection.response().status == 200
        except OSError:
            return False

    def _lives_and(self, condition: bool) -> bool:
        self._check_alive()
        return condition

    def _check_alive(self) -> None:
        assert self.process is not None
        assert self.process.poll() is None, "gunicorn has ended"

    def _group(self) -> list[int]:
        # A zombie has ended; whoever inherited it reaps it.
        members = []
        for process in psutil.process_iter(["status"]):
            try:
                same = os.getpgid(process.pid) == self.pid
            except ProcessLookupError:
                continue
            if same and process.info["status"] != psutil.STATUS_ZOMBIE:
                members.append(process.pid)
        return members

    def _kill_all(self) -> None:
        for pid in self._group():
            os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait(DEADLINE)

    def _forget(self) -> None:
        self.running.remove(self)
        self.logs_of_ended.append(self.log_tail())
        self._temporary.cleanup()


def descriptors(pid: int) -> list[str]:
    """What the open descriptors of a process refer to."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed in between
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def peak_memory(pid: int) -> int:
    """Bytes, the most that were resident so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def wait_for_other_worker(server: LiveServer, *old: int) -> int:
    """The process id of a worker that answers and is none of the old ones."""

    def other() -> int | None:
        try:
            answering = server.answering_worker()
        except (OSError, EOFError):
            return None
        return None if answering in old else answering

    return wait_until(other, "an answer of another worker") or 0
