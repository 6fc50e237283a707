"""The settings of the package: one frozen object, checked before it is used.

Each field says its unit, its default and the reason for it; docs/settings.md shows the same
texts. A value comes from the environment (COOPERATIVE_UPLOAD_ and the field's name in capitals),
else from the attribute of that name of the worker class, else from here. gunicorn ignores names
that it does not know without a word; here an unknown name is an error that names its likely
spelling.
"""

from __future__ import annotations

import dataclasses
import difflib
import errno
import math
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import SettingsError

ENVIRONMENT_PREFIX = "COOPERATIVE_UPLOAD_"

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})

_FULL_FOR_NOW = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})

# The settings for which every number is right that is not negative.
_AT_LEAST_NOTHING = (
    "small_body_bytes",
    "spool_memory_bytes",
    "body_timeout_seconds",
    "min_rate_bytes",
    "header_timeout_seconds",
    "drain_bytes",
    "lingering_seconds",
    "lingering_idle_seconds",
    "max_body_bytes",
    "max_urlencoded_bytes",
    "max_json_bytes",
    "max_uploads",
    "max_uploads_per_client",
    "max_uploads_wait_seconds",
    "retry_after_seconds",
    "loop_blocked_ms",
)


def _setting(default: Any, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True)
class UploadSettings:
    """How uploads share one worker. Raises SettingsError for a value that makes no sense."""

    slice_ms: float = _setting(
        0.5,
        "Milliseconds that one upload may run before everyone else has had a go. Latency beside "
        "uploads grows with it; from 0.25 to 1 the throughput is the same within the noise.",
    )
    deadline_ms: float = _setting(
        5.0,
        "Milliseconds after which an upload gets its slice although the loop is never idle. It "
        "keeps uploads moving on a busy server: one slice in each such time, a tenth of the loop "
        "with the defaults.",
    )
    small_body_bytes: int = _setting(
        64 * 1024,
        "Bytes up to which a body with a Content-Length takes no turns: it is one block of "
        "werkzeug's form parser, whose work is less than a slice, and a small POST should not "
        "wait in line behind uploads. 0: every body takes turns.",
    )
    spool_memory_bytes: int = _setting(
        500 * 1024,
        "Bytes of a file part that stay in memory before it moves to disk; werkzeug's own bound.",
    )
    spool_batch_bytes: int = _setting(
        512 * 1024,
        "Bytes that are collected for one write to disk. One batch is written while the next is "
        "collected, so an upload holds at most two. From 256 KiB to 1 MiB no difference was "
        "measured.",
    )
    spool_directory: str = _setting(
        "",
        "Directory of the temporary files. Empty: what Python's tempfile.gettempdir() says, as "
        "for werkzeug (TMPDIR sets that).",
    )
    writer_threads: int = _setting(
        1,
        "Threads that write to disk, for each event loop. More of them only compete with the "
        "loop for the cores: with 10 the p99 beside 32 uploads was 3 to 6 times that with 1, and "
        "the throughput the same.",
    )
    writer_spare_threads: int = _setting(
        8,
        "Threads that may be added to those, one for each write that takes longer than a second: "
        "a disk that hangs, or a save to a network drive that is away, holds up its own upload "
        "alone. They end when the write does.",
    )
    writer_nice: int = _setting(
        5,
        "Steps of nice(1) by which the priority of those threads is below the worker's, 0 to 19; "
        "Linux only. With 5 steps the p99 beside 32 uploads was 1.7 to 1.8 times that of the idle "
        "server on two cores, with none 2.1 to 2.6 times, at about the same throughput. 0 if "
        "other programs keep the cores busy and uploads matter more.",
    )
    body_timeout_seconds: float = _setting(
        60.0,
        "Seconds that a client may send nothing in the middle of a body before it gets a 408; "
        "nginx's client_body_timeout. What a body waits for its turn does not count. 0: forever. "
        "HTTP/2 bodies have gunicorn's own timeout instead.",
    )
    min_rate_bytes: float = _setting(
        0.0,
        "Bytes a second that a body must bring, or its client gets a 408. 0: no such limit, since "
        "a slow client costs a connection and nothing else. Behind a load balancer with few "
        "connections, 500 (that of Apache's mod_reqtimeout) ends those that trickle.",
    )
    min_rate_window_seconds: float = _setting(
        20.0,
        "Seconds of waiting for the client over which that rate is taken, so that a short gap "
        "ends no upload.",
    )
    header_timeout_seconds: float = _setting(
        60.0,
        "Seconds that a new connection has for its TLS handshake, and then for the headers of its "
        "first request; nginx's client_header_timeout. gunicorn's keepalive limits the headers "
        "too, unless it is 0. 0: forever.",
    )
    drain_bytes: int = _setting(
        256 * 1024,
        "Bytes of a body that the application did not read which are read and thrown away to keep "
        "the connection; Go's bound. With more of them left, or with an unknown number, the "
        "response says Connection: close.",
    )
    lingering_seconds: float = _setting(
        30.0,
        "Seconds that a connection is read from after the response at the most, to drain the body "
        "or, before it is closed, so that a client which still sends gets the response and not a "
        "reset; nginx's lingering_time.",
    )
    lingering_idle_seconds: float = _setting(
        5.0,
        "Seconds without a byte after which such a connection is closed; nginx's "
        "lingering_timeout.",
    )
    lingering_connections: int = _setting(
        256,
        "Connections that linger at once; one more ends the one that has lingered longest. A "
        "quarter of gunicorn's default for worker_connections.",
    )
    max_body_bytes: int = _setting(
        0,
        "Bytes of the largest body that is accepted, else a 413: before a byte of it is read if "
        "it has a Content-Length, by counting if it has none. 0: no limit, as on the stock "
        "worker; the application has its own (MAX_CONTENT_LENGTH).",
    )
    max_urlencoded_bytes: int = _setting(
        2 * 1024 * 1024,
        "Bytes of the largest urlencoded form that werkzeug parses, else a 413. Python does that "
        "in one go, in which nobody else runs: 1 MiB takes up to a quarter of a second. A raw "
        "body is not limited by it, though curl and wget call it application/x-www-form-"
        "urlencoded unless told otherwise. 0: no limit. Other frameworks have limits of their "
        "own.",
    )
    max_json_bytes: int = _setting(
        0,
        "Bytes of the largest JSON body that werkzeug's get_json() parses, else a 413. It is "
        "parsed in one go too, but a MiB in about 12 ms, and APIs differ in what they accept. A "
        "JSON body that is only read or stored is not limited by it. 0: no limit. Other "
        "frameworks have limits of their own.",
    )
    max_uploads: int = _setting(
        0,
        "Uploads that a worker receives at once; those are the bodies that take turns. 0: no "
        "limit, since a hundred cost little more than one; the disk may want another.",
    )
    max_uploads_per_client: int = _setting(
        0,
        "Uploads that a worker receives at once from one address. 0: no limit, since behind a "
        "proxy all clients have the proxy's address (use nginx's limit_conn there).",
    )
    max_uploads_wait_seconds: float = _setting(
        0.0,
        "Seconds that an upload waits in line where one of these two limits is reached, before it "
        "is refused with a 503. 0: refused at once.",
    )
    retry_after_seconds: int = _setting(
        10,
        "Seconds that the Retry-After header of that 503 names: about the time of an upload.",
    )
    loop_probe_ms: float = _setting(
        50.0,
        "Milliseconds between two measurements of the event loop's lag: by how much a timer comes "
        "too late. 20 of them in a second cost less than a thousandth of the processor. 0: none, "
        "and no rates of uploads either.",
    )
    loop_blocked_ms: float = _setting(
        500.0,
        "Milliseconds for which something may hold the event loop before a warning says what it "
        "was, with its stack, once a minute at the most: half a second is what a person notices. "
        "0: no warning.",
    )
    patch_werkzeug: bool = _setting(
        True,
        "Whether the worker, or the middleware, replaces werkzeug's default stream factory and "
        "FileStorage.save in its own process, so that an application that knows nothing of this "
        "package gets the cooperative spool.",
    )
    fast_multipart: bool = _setting(
        True,
        "Whether, with patch_werkzeug, werkzeug's multipart decoder takes the shorter way through "
        "the inside of large parts, uploads about a quarter faster. The result is the same but "
        "for one size of a file in 65,536, to which werkzeug alone adds a carriage return. Used "
        "with the versions of werkzeug that it was compared with (up to 3.1.x) alone.",
    )
    save_whole: bool = _setting(
        False,
        "Whether FileStorage.save to a path lets the file appear whole or not at all, as "
        "Spool.save_to does, and puts it in the place of one that exists. Off, as in werkzeug: a "
        "file that exists is emptied and written to, which all see who have it open, locked or "
        "linked.",
    )

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):
            _check_type(setting.name, getattr(self, setting.name), type(setting.default))
        _check_range("slice_ms", self.slice_ms, 0.01, 1000)
        _check_range("deadline_ms", self.deadline_ms, 1, 60_000)
        _check_range("spool_batch_bytes", self.spool_batch_bytes, 4096, 1 << 30)
        _check_range("writer_threads", self.writer_threads, 1, 64)
        _check_range("writer_spare_threads", self.writer_spare_threads, 0, 256)
        _check_range("writer_nice", self.writer_nice, 0, 19)
        if self.loop_probe_ms:
            _check_range("loop_probe_ms", self.loop_probe_ms, 1, 1000)
        for name in _AT_LEAST_NOTHING:
            _check_range(name, getattr(self, name), 0, math.inf)
        _check_range("min_rate_window_seconds", self.min_rate_window_seconds, 0.1, math.inf)
        _check_range("lingering_connections", self.lingering_connections, 1, math.inf)

    @property
    def spool_path(self) -> str:
        """The directory of the temporary files, never empty."""
        return self.spool_directory or tempfile.gettempdir()

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], attributes: Mapping[str, Any] | None = None
    ) -> UploadSettings:
        """Settings from environment variables over `attributes` over the defaults.

        Raises SettingsError, which names the variable or attribute, for an unknown name and for
        a value that can't be read or makes no sense.
        """
        defaults = {f.name: f.default for f in dataclasses.fields(cls)}
        values = dict(attributes or {})
        for name in values:
            if name not in defaults:
                raise SettingsError(_unknown("upload setting", name, defaults))
        variables = {ENVIRONMENT_PREFIX + name.upper(): name for name in defaults}
        for variable, text in environ.items():
            if not variable.startswith(ENVIRONMENT_PREFIX):
                continue
            if variable not in variables:
                raise SettingsError(_unknown("environment variable", variable, variables))
            name = variables[variable]
            values[name] = _parse(variable, text, type(defaults[name]))
        return cls(**values)

    def check_spool_directory(self) -> None:
        """Raise SettingsError unless this process can make files in the spool's directory.

        A directory that is full at the moment passes.
        """
        try:
            tempfile.TemporaryFile(dir=self.spool_path).close()
        except OSError as error:
            if error.errno in _FULL_FOR_NOW:
                return
            raise SettingsError(
                f"spool_directory: can't make files in {self.spool_path!r}: {error.strerror}"
            ) from None


def setting_names() -> list[str]:
    """The names of all settings."""
    return [f.name for f in dataclasses.fields(UploadSettings)]


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else "there are " + ", ".join(sorted(known))
    return f"unknown {kind} {name}: {hint}"


def _parse(variable: str, text: str, kind: type) -> Any:
    if kind is bool:
        return _parse_bool(variable, text)
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise SettingsError(f"{variable}: expected {wanted}, got {text!r}") from None


def _parse_bool(variable: str, text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise SettingsError(f"{variable}: expected 1 or 0, got {text!r}")


def _check_type(name: str, value: object, kind: type) -> None:
    allowed = (int, float) if kind is float else (kind,)
    if not isinstance(value, allowed) or (kind is not bool and isinstance(value, bool)):
        raise SettingsError(f"{name}: expected {kind.__name__}, got {value!r}")


def _check_range(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:  # also refuses nan
        upper = "" if math.isinf(highest) else f" and at most {highest:,}"
        raise SettingsError(f"{name}: expected at least {lowest:,}{upper}, got {value!r}")
