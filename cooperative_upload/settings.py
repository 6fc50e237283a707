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
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .errors import SettingsError

ENVIRONMENT_PREFIX = "COOPERATIVE_UPLOAD_"

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})

_KINDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}

_FULL_FOR_NOW = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})

# Bounds that no installation comes near. What is above them is a slip (a unit, a digit too many)
# that would be found later and elsewhere: the system's clocks and sizes are no larger than 2**63,
# and gevent's timers take no infinity.
_MOST_BYTES = 1 << 50  # a pebibyte
_MOST_SECONDS = 366 * 24 * 3600  # a year
_MOST_AT_ONCE = 1_000_000  # connections


class _Range(NamedTuple):
    """The numbers that a setting may have; with or_off also 0, which turns it off."""

    lowest: float
    highest: float
    or_off: bool = False


def _setting(default: Any, doc: str, numbers: _Range | None = None) -> Any:
    return field(default=default, metadata={"doc": doc, "range": numbers})


@dataclass(frozen=True)
class UploadSettings:
    """How uploads share one worker. Raises SettingsError for a value that makes no sense."""

    slice_ms: float = _setting(
        0.5,
        "Milliseconds that one upload may run before everyone else has had a go. Latency beside "
        "uploads grows with it; from 0.25 to 1 the throughput is the same within the noise.",
        _Range(0.01, 1000),
    )
    deadline_ms: float = _setting(
        5.0,
        "Milliseconds after which an upload gets its slice although the loop is never idle. It "
        "keeps uploads moving on a busy server: one slice in each such time, a tenth of the loop "
        "with the defaults.",
        _Range(1, 60_000),
    )
    small_body_bytes: int = _setting(
        64 * 1024,
        "Bytes up to which a body with a Content-Length takes no turns: it is one block of "
        "werkzeug's form parser, whose work is less than a slice, and a small POST should not "
        "wait in line behind uploads. 0: every body takes turns.",
        _Range(0, _MOST_BYTES),
    )
    spool_memory_bytes: int = _setting(
        500 * 1024,
        "Bytes of a file part that stay in memory before it moves to disk; werkzeug's own bound.",
        _Range(0, _MOST_BYTES),
    )
    spool_request_memory_bytes: int = _setting(
        8 * 1024 * 1024,
        "Bytes that the files of one request may have in memory, all together: sixteen of the "
        "size above. Past them a file goes to disk, however small it is.",
        _Range(0, _MOST_BYTES),
    )
    spool_worker_memory_bytes: int = _setting(
        128 * 1024 * 1024,
        "Bytes that the files of all requests of a worker may have in memory, and in what is "
        "collected to be written: two batches for each of 128 uploads at full speed. Past them "
        "files go to disk in smaller writes.",
        _Range(0, _MOST_BYTES),
    )
    spool_request_files: int = _setting(
        16,
        "Temporary files that one request may have open on disk. Those of its files that come "
        "behind them share one more: a form can have a thousand, and a process often as many "
        "descriptors.",
        _Range(1, _MOST_AT_ONCE),
    )
    spool_worker_files: int = _setting(
        0,
        "Temporary files that all requests of a worker may have open, half of them beyond the "
        "first of each request. Past them an upload that needs one is refused with a 503, so that "
        "new connections have a descriptor. 0: half of the limit of open files (ulimit -n), since "
        "each upload has a connection too.",
        _Range(0, _MOST_AT_ONCE),
    )
    spool_batch_bytes: int = _setting(
        512 * 1024,
        "Bytes that are collected for one write to disk. One batch is written while the next is "
        "collected, so an upload holds at most two. From 256 KiB to 1 MiB no difference was "
        "measured.",
        _Range(4096, 1 << 30),
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
        _Range(1, 64),
    )
    writer_spare_threads: int = _setting(
        8,
        "Threads that may be added to those, one for each write that takes longer than a second: "
        "a disk that hangs, or a save to a network drive that is away, holds up its own upload "
        "alone. They end when the write does.",
        _Range(0, 256),
    )
    writer_nice: int = _setting(
        5,
        "Steps of nice(1) by which the priority of those threads is below the worker's, 0 to 19; "
        "Linux only. With 5 steps the p99 beside 32 uploads was 1.7 to 1.8 times that of the idle "
        "server on two cores, with none 2.1 to 2.6 times, at about the same throughput. 0 if "
        "other programs keep the cores busy and uploads matter more.",
        _Range(0, 19),
    )
    storage_memory_bytes: int = _setting(
        64 * 1024 * 1024,
        "Bytes that parts on their way to a store (S3, Swift) may have in memory, in each worker: "
        "eight parts of 8 MiB. Past them an upload waits for its own parts that are being sent; "
        "where it has none, the next lies in an unnamed file in the spool's directory.",
        _Range(0, _MOST_BYTES),
    )
    storage_connections: int = _setting(
        10,
        "Connections on which a worker sends parts to a store at once, in the order in which they "
        "were ready; boto3's own bound for one transfer. More of them help where the store is far "
        "away.",
        _Range(1, 1000),
    )
    storage_retry_seconds: float = _setting(
        30.0,
        "Seconds after which a call to a store that fails for a while (throttled, out of reach) "
        "is not tried again, and its upload gets a 503: half of the minute after which nginx "
        "gives up on a server. 0: no second try.",
        _Range(0, _MOST_SECONDS),
    )
    body_timeout_seconds: float = _setting(
        60.0,
        "Seconds for which nothing of a body may come before its client gets a 408; nginx's "
        "client_body_timeout. Extensions of chunks, trailers and a TLS record that is not whole "
        "are nothing of it; the wrapper on gunicorn's own workers takes any packet for a part of "
        "it. What a body waits for its turn does not count. 0: forever. HTTP/2 bodies have "
        "gunicorn's own timeout instead.",
        _Range(0, _MOST_SECONDS),
    )
    min_rate_bytes: float = _setting(
        0.0,
        "Bytes a second that a body must bring, or its client gets a 408. 0: no such limit, since "
        "a slow client costs a connection and nothing else. Behind a load balancer with few "
        "connections, 500 (that of Apache's mod_reqtimeout) ends those that trickle.",
        _Range(0, _MOST_BYTES),
    )
    min_rate_window_seconds: float = _setting(
        20.0,
        "Seconds of waiting for the client over which that rate is taken, so that a short gap "
        "ends no upload.",
        _Range(0.1, _MOST_SECONDS),
    )
    header_timeout_seconds: float = _setting(
        60.0,
        "Seconds that a new connection has for its TLS handshake, and then for the headers of its "
        "first request; nginx's client_header_timeout. gunicorn's keepalive limits the headers "
        "too, unless it is 0. 0: forever.",
        _Range(0, _MOST_SECONDS),
    )
    drain_bytes: int = _setting(
        256 * 1024,
        "Bytes of a body that the application did not read which are read and thrown away to keep "
        "the connection; Go's bound. With more of them left, or with an unknown number, the "
        "response says Connection: close.",
        _Range(0, _MOST_BYTES),
    )
    lingering_seconds: float = _setting(
        30.0,
        "Seconds that a connection is read from after the response at the most, to drain the body "
        "or, before it is closed, so that a client which still sends gets the response and not a "
        "reset; nginx's lingering_time.",
        _Range(0, _MOST_SECONDS),
    )
    lingering_idle_seconds: float = _setting(
        5.0,
        "Seconds without a byte after which such a connection is closed; nginx's "
        "lingering_timeout.",
        _Range(0, _MOST_SECONDS),
    )
    lingering_connections: int = _setting(
        256,
        "Connections that linger at once; one more ends the one that has lingered longest. A "
        "quarter of gunicorn's default for worker_connections.",
        _Range(1, _MOST_AT_ONCE),
    )
    lingering_rate_bytes: int = _setting(
        64 * 1024 * 1024,
        "Bytes a second that are thrown away of all such connections of a worker together. To "
        "receive so many takes a hundredth of a core. 0: no limit.",
        _Range(0, _MOST_BYTES),
    )
    max_body_bytes: int = _setting(
        0,
        "Bytes of the largest body that is accepted, else a 413: before a byte of it is read if "
        "it has a Content-Length, by counting if it has none. 0: no limit, as on the stock "
        "worker; the application has its own (MAX_CONTENT_LENGTH).",
        _Range(0, _MOST_BYTES),
    )
    max_urlencoded_bytes: int = _setting(
        2 * 1024 * 1024,
        "Bytes of the largest urlencoded form that werkzeug parses, else a 413. It is parsed in "
        "steps between which others run (where the body takes turns and patch_werkzeug is on), "
        "but 1 MiB of escapes still takes most of a second of the processor, and many times its "
        "size in memory. A raw body is not limited by it, though curl and wget call it "
        "application/x-www-form-urlencoded unless told otherwise. 0: no limit. Other frameworks "
        "have limits of their own.",
        _Range(0, _MOST_BYTES),
    )
    max_json_bytes: int = _setting(
        0,
        "Bytes of the largest JSON body that werkzeug's get_json() parses, else a 413. It is "
        "parsed in one go too, but a MiB in about 12 ms, and APIs differ in what they accept. A "
        "JSON body that is only read or stored is not limited by it. 0: no limit. Other "
        "frameworks have limits of their own.",
        _Range(0, _MOST_BYTES),
    )
    max_part_header_bytes: int = _setting(
        8 * 1024,
        "Bytes of the headers of one part of a form, with its field's name and its file's, else a "
        "413; what Apache takes for one header of a request, and gunicorn for one line. werkzeug "
        "parses them in one go, up to 3.1.7 in a time that grows with their square: 430 kB took "
        "3.3 seconds. 0: no limit but werkzeug's own (max_form_memory_size).",
        _Range(0, _MOST_BYTES),
    )
    max_uploads: int = _setting(
        0,
        "Uploads that a worker receives at once; those are the bodies that take turns. One counts "
        "until its body is there and its application responds, and not until the response has "
        "been read. 0: no limit, since a hundred cost little more than one; the disk may want "
        "another.",
        _Range(0, _MOST_AT_ONCE),
    )
    max_uploads_per_client: int = _setting(
        0,
        "Uploads that a worker receives at once from one client: one address of IPv4, one network "
        "of IPv6. 0: no limit, since behind a proxy all clients have the proxy's address (use "
        "nginx's limit_conn there).",
        _Range(0, _MOST_AT_ONCE),
    )
    client_ipv6_bits: int = _setting(
        64,
        "Bits of an IPv6 address by which that limit tells clients apart. 64 are one network (RFC "
        "4291 section 2.5.1), the least that a customer is given, who can send from each of its "
        "2**64 addresses. 56 or 48 where customers are given more; 128: each address counts by "
        "itself.",
        _Range(1, 128),
    )
    max_uploads_wait_seconds: float = _setting(
        0.0,
        "Seconds that an upload waits in line where one of these two limits is reached, before it "
        "is refused with a 503. 0: refused at once.",
        _Range(0, _MOST_SECONDS),
    )
    retry_after_seconds: int = _setting(
        10,
        "Seconds that the Retry-After header of that 503 names: about the time of an upload.",
        _Range(0, _MOST_SECONDS),
    )
    loop_probe_ms: float = _setting(
        50.0,
        "Milliseconds between two measurements of the event loop's lag: by how much a timer comes "
        "too late. 20 of them in a second cost less than a thousandth of the processor. 0: none, "
        "and no rates of uploads either.",
        _Range(1, 1000, or_off=True),
    )
    loop_blocked_ms: float = _setting(
        500.0,
        "Milliseconds for which something may hold the event loop before a warning says what it "
        "was, with its stack, once a minute at the most: half a second is what a person notices. "
        "0: no warning.",
        _Range(0, _MOST_SECONDS * 1000),
    )
    database_threads: int = _setting(
        4,
        "Threads that ask PostgreSQL for the state of uploads, for each event loop, each with a "
        "connection of its own: commits that wait for its disk share that wait. SQLite has two, "
        "one that reads and one that writes.",
        _Range(1, 64),
    )
    database_wait_seconds: float = _setting(
        5.0,
        "Seconds that a request waits for a database that is locked, busy or away, before it is "
        "answered that the state is out of reach for now (423): less than the time after which "
        "clients give up, and more than a restart of PostgreSQL takes.",
        _Range(0.1, _MOST_SECONDS),
    )
    upload_commit_bytes: int = _setting(
        32 * 1024 * 1024,
        "Bytes of one request after which what has come is made durable and counted while more "
        "arrives. Twice as much is sent again at the most where a worker is killed: half a second "
        "of a network of 1 Gbit/s.",
        _Range(64 * 1024, _MOST_BYTES),
    )
    upload_commit_seconds: float = _setting(
        10.0,
        "Seconds after which the same is done for a slow client, if anything came.",
        _Range(0.1, _MOST_SECONDS),
    )
    upload_check_wait_seconds: float = _setting(
        10.0,
        "Seconds that the request with the last byte waits until the upload is in its place and "
        "checked; then it is answered that this is not ready yet (423), and the check goes on. "
        "Below the time-outs of proxies and clients, which begin at 30 seconds.",
        _Range(0, _MOST_SECONDS),
    )
    upload_expire_seconds: float = _setting(
        7 * 24 * 3600.0,
        "Seconds without a new byte after which an upload that is not complete is taken away, and "
        "what is told of a refused one too. A week: a laptop that is closed on Friday goes on "
        "on Monday.",
        _Range(1, _MOST_SECONDS),
    )
    upload_sweep_seconds: float = _setting(
        60.0,
        "Seconds between two rounds of the sweeper, which removes what has expired, finishes what "
        "a killed worker left, and tells the application again what it failed to take. 0: none "
        "in this process.",
        _Range(0.1, _MOST_SECONDS, or_off=True),
    )
    upload_lease_seconds: float = _setting(
        15.0,
        "Seconds without a sign of life after which a worker on another machine counts as gone, "
        "and what it was checking is taken over: a few of its beats, one every 3 seconds. On the "
        "same machine the kernel tells it at once.",
        _Range(4, _MOST_SECONDS),
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

    storage_fsync: bool = _setting(
        True,
        "Whether a storage on a disk has content and names on the medium before it says that they "
        "are stored, so that they outlive a loss of power. Off, they outlive the end of a "
        "process, however it ends, and no more: for disks that are slow at it and files that can "
        "be sent again.",
    )

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):
            value = _checked(setting.name, getattr(self, setting.name), type(setting.default))
            object.__setattr__(self, setting.name, value)  # a switch may come as 1 or 0
            if setting.metadata["range"] is not None:
                _check_range(setting.name, value, setting.metadata["range"])

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

    def check_spool_directory(self) -> str | None:
        """Whether this process can make files in the spool's directory.

        Returns None if it can, or could if there were room; a warning if it can't and nobody has
        named a directory: what fits into memory is served then, as by the stock worker. Raises
        SettingsError for a directory that somebody has named.
        """
        try:
            tempfile.TemporaryFile(dir=self.spool_path).close()
        except OSError as error:
            if error.errno in _FULL_FOR_NOW:
                return None
            if self.spool_directory:
                raise SettingsError(
                    f"spool_directory: can't make files in {self.spool_directory!r}: "
                    f"{error.strerror}"
                ) from None
            # tempfile's own text, if it has found no directory at all, names those that it tried.
            where = "" if tempfile.tempdir is None else f"{tempfile.tempdir!r}: "
            return (
                f"No files of more than {self.spool_memory_bytes:,} bytes can be uploaded: "
                f"{where}{error.strerror}. spool_directory or TMPDIR names another directory."
            )
        return None


def setting_names() -> list[str]:
    """The names of all settings."""
    return [f.name for f in dataclasses.fields(UploadSettings)]


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    # Without the prefix that all variables have in common: by that any two would be alike.
    distinct = {each.removeprefix(ENVIRONMENT_PREFIX): each for each in known}
    close = difflib.get_close_matches(name.removeprefix(ENVIRONMENT_PREFIX), distinct, n=1)
    if close:
        return f"unknown {kind} {name}: did you mean {distinct[close[0]]}?"
    return f"unknown {kind} {name}: there are " + ", ".join(sorted(known))


def _parse(variable: str, text: str, kind: type) -> Any:
    if kind is bool:
        return _parse_bool(variable, text)
    try:
        return kind(text)
    except ValueError:
        raise SettingsError(f"{variable}: expected {_KINDS[kind]}, got {text!r}") from None


def _parse_bool(variable: str, text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise SettingsError(f"{variable}: expected 1 or 0, got {text!r}")


def _checked(name: str, value: Any, kind: type) -> Any:
    """The value; raises SettingsError if it is of another kind than the setting."""
    if kind is bool and type(value) is int and value in (0, 1):
        return bool(value)
    allowed = (int, float) if kind is float else (kind,)
    if not isinstance(value, allowed) or (kind is not bool and isinstance(value, bool)):
        raise SettingsError(f"{name}: expected {_KINDS[kind]}, got {value!r}")
    return value


def _check_range(name: str, value: float, numbers: _Range) -> None:
    if numbers.or_off and value == 0:
        return
    if not numbers.lowest <= value <= numbers.highest:  # also refuses nan
        zero = "0, or " if numbers.or_off else ""
        raise SettingsError(
            f"{name}: expected {zero}at least {numbers.lowest:,} and at most "
            f"{numbers.highest:,}, got {value!r}"
        )
