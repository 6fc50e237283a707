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
import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import SettingsError

ENVIRONMENT_PREFIX = "COOPERATIVE_UPLOAD_"

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


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
    writer_nice: int = _setting(
        5,
        "Steps of nice(1) by which the priority of those threads is below the worker's, 0 to 19; "
        "Linux only. With 5 steps the p99 beside 32 uploads was 1.7 to 1.8 times that of the idle "
        "server on two cores, with none 2.1 to 2.6 times, at about the same throughput. 0 if "
        "other programs keep the cores busy and uploads matter more.",
    )
    patch_werkzeug: bool = _setting(
        True,
        "Whether the worker replaces werkzeug's default stream factory and FileStorage.save in "
        "its own process, so that an application that knows nothing of this package gets the "
        "cooperative spool.",
    )
    fast_multipart: bool = _setting(
        True,
        "Whether, with patch_werkzeug, werkzeug's multipart decoder takes the shorter way through "
        "the inside of large parts: the same result, uploads about a quarter faster. Used with "
        "the versions of werkzeug that it was compared with (3.1.4 to 3.1.x) alone.",
    )
    save_links: bool = _setting(
        True,
        "Whether the first FileStorage.save to the spool's own file system gives the spooled "
        "file a name there instead of copying it. Turn it off if the application changes a saved "
        "file and afterwards reads the upload's stream once more.",
    )

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):
            _check_type(setting.name, getattr(self, setting.name), type(setting.default))
        _check_range("slice_ms", self.slice_ms, 0.01, 1000)
        _check_range("deadline_ms", self.deadline_ms, 1, 60_000)
        _check_range("small_body_bytes", self.small_body_bytes, 0, math.inf)
        _check_range("spool_memory_bytes", self.spool_memory_bytes, 0, math.inf)
        _check_range("spool_batch_bytes", self.spool_batch_bytes, 4096, 1 << 30)
        _check_range("writer_threads", self.writer_threads, 1, 64)
        _check_range("writer_nice", self.writer_nice, 0, 19)

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
        """Raise SettingsError unless files can be made in the spool's directory."""
        path = self.spool_path
        if not os.path.isdir(path):
            raise SettingsError(f"spool_directory: {path!r} is not a directory")
        if not os.access(path, os.W_OK | os.X_OK):
            raise SettingsError(f"spool_directory: no permission to make files in {path!r}")


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
