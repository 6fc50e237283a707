"""Settings: documented, read from three places in a fixed order, and refused if they are wrong."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from unprivileged import open_directory, run_unprivileged

from cooperative_upload.errors import SettingsError
from cooperative_upload.settings import ENVIRONMENT_PREFIX, UploadSettings, setting_names

FIELDS = {field.name: field for field in dataclasses.fields(UploadSettings)}

DEFAULTS = {
    "slice_ms": 0.5,
    "deadline_ms": 5.0,
    "small_body_bytes": 65536,
    "spool_memory_bytes": 512000,
    "spool_request_memory_bytes": 8388608,
    "spool_worker_memory_bytes": 134217728,
    "spool_request_files": 16,
    "spool_worker_files": 0,
    "spool_batch_bytes": 524288,
    "spool_directory": "",
    "writer_threads": 1,
    "writer_spare_threads": 8,
    "writer_nice": 5,
    "storage_memory_bytes": 67108864,
    "storage_connections": 10,
    "storage_retry_seconds": 30.0,
    "body_timeout_seconds": 60.0,
    "min_rate_bytes": 0.0,
    "min_rate_window_seconds": 20.0,
    "header_timeout_seconds": 60.0,
    "drain_bytes": 262144,
    "lingering_seconds": 30.0,
    "lingering_idle_seconds": 5.0,
    "lingering_connections": 256,
    "lingering_rate_bytes": 67108864,
    "max_body_bytes": 0,
    "max_urlencoded_bytes": 2097152,
    "max_json_bytes": 0,
    "max_part_header_bytes": 8192,
    "max_uploads": 0,
    "max_uploads_per_client": 0,
    "client_ipv6_bits": 64,
    "max_uploads_wait_seconds": 0.0,
    "retry_after_seconds": 10,
    "loop_probe_ms": 50.0,
    "loop_blocked_ms": 500.0,
    "database_threads": 4,
    "database_wait_seconds": 5.0,
    "upload_commit_bytes": 33554432,
    "upload_commit_seconds": 10.0,
    "upload_check_wait_seconds": 10.0,
    "upload_expire_seconds": 604800.0,
    "upload_sweep_seconds": 60.0,
    "upload_lease_seconds": 15.0,
    "patch_werkzeug": True,
    "fast_multipart": True,
    "save_whole": False,
    "storage_fsync": True,
}

KINDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}

# A field's name tells its unit; the text says it in words.
UNITS = {
    "_files": "Temporary files",
    "_ms": "Milliseconds",
    "_bytes": "Bytes",
    "_threads": "Threads",
    "_nice": "Steps",
    "_directory": "Directory",
    "_seconds": "Seconds",
    "_connections": "Connections",
    "_uploads": "Uploads",
    "_client": "Uploads",
    "_bits": "Bits",
}


def from_environment(**variables: str) -> UploadSettings:
    return UploadSettings.from_environment(
        {ENVIRONMENT_PREFIX + name.upper(): text for name, text in variables.items()}
    )


def test_the_list_above_is_complete() -> None:
    """A new setting comes with its test."""
    assert setting_names() == list(FIELDS)
    assert sorted(DEFAULTS) == sorted(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_default(name: str) -> None:
    """The defaults that the documentation and the measurements speak of."""
    assert getattr(UploadSettings(), name) == DEFAULTS[name]
    assert type(getattr(UploadSettings(), name)) is type(DEFAULTS[name])


@pytest.mark.parametrize("name", FIELDS)
def test_each_says_its_unit_and_reason(name: str) -> None:
    """The text begins with the unit, and is more than that."""
    doc = FIELDS[name].metadata["doc"]
    unit = next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "Whether")
    assert doc.startswith(unit)
    assert doc.endswith(".")
    assert len(doc) > 60


def test_frozen() -> None:
    """Nobody changes the settings of a running worker."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        UploadSettings().slice_ms = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("slice_ms", "0.25", 0.25),
        ("slice_ms", "2", 2.0),
        ("deadline_ms", " 20 ", 20.0),
        ("small_body_bytes", "0", 0),
        ("spool_memory_bytes", "1000000", 1_000_000),
        ("spool_batch_bytes", "4096", 4096),
        ("spool_directory", "/var/spool/x y", "/var/spool/x y"),
        ("writer_threads", "4", 4),
        *(("patch_werkzeug", text, True) for text in ("1", "true", "YES", " on ")),
        *(("fast_multipart", text, False) for text in ("0", "False", "no", "OFF")),
    ],
)
def test_environment(name: str, text: str, value: Any) -> None:
    """Each type is read in the usual spellings."""
    settings = from_environment(**{name: text})
    assert getattr(settings, name) == value
    assert settings == dataclasses.replace(UploadSettings(), **{name: value})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("slice_ms", "fast"),
        ("slice_ms", ""),
        ("slice_ms", "0,5"),
        ("small_body_bytes", "64k"),
        ("small_body_bytes", "1.5"),
        ("writer_threads", "1e1"),
        ("patch_werkzeug", "maybe"),
        ("patch_werkzeug", ""),
        ("fast_multipart", "2"),
    ],
)
def test_unreadable_environment(name: str, text: str) -> None:
    """The error names the variable and shows its text."""
    variable = ENVIRONMENT_PREFIX + name.upper()
    with pytest.raises(SettingsError) as caught:
        from_environment(**{name: text})
    assert str(caught.value).startswith(f"{variable}: expected ")
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("slice_ms", 0),
        ("slice_ms", -1.0),
        ("slice_ms", 1000.1),
        ("slice_ms", float("nan")),
        ("slice_ms", float("inf")),
        ("deadline_ms", 0.9),
        ("deadline_ms", 60_001),
        ("deadline_ms", float("nan")),
        ("small_body_bytes", -1),
        ("spool_memory_bytes", -1),
        ("spool_batch_bytes", 4095),
        ("spool_batch_bytes", (1 << 30) + 1),
        ("writer_threads", 0),
        ("writer_threads", 65),
        ("writer_nice", -1),
        ("writer_nice", 20),
    ],
)
def test_out_of_range(name: str, value: Any) -> None:
    """The error names the setting, its bounds and the value, from wherever it came."""
    refused = pytest.raises(SettingsError, match=rf"^{name}: expected at least .*, got ")
    with refused:
        UploadSettings(**{name: value})
    with refused:
        UploadSettings.from_environment({}, {name: value})
    with refused:
        from_environment(**{name: str(value)})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("slice_ms", 0.01),
        ("slice_ms", 1000),
        ("deadline_ms", 1),
        ("deadline_ms", 60_000),
        ("small_body_bytes", 0),
        ("small_body_bytes", 1 << 40),
        ("spool_memory_bytes", 0),
        ("spool_batch_bytes", 4096),
        ("spool_batch_bytes", 1 << 30),
        ("writer_threads", 64),
    ],
)
def test_the_bounds_themselves_are_allowed(name: str, value: Any) -> None:
    """A bound belongs to the range."""
    assert getattr(UploadSettings(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("slice_ms", "0.5"),
        ("slice_ms", True),
        ("slice_ms", None),
        ("small_body_bytes", 1.0),
        ("small_body_bytes", True),
        ("writer_threads", "1"),
        ("writer_threads", True),
        ("patch_werkzeug", 2),
        ("patch_werkzeug", -1),
        ("patch_werkzeug", 1.0),
        ("patch_werkzeug", "yes"),
        ("fast_multipart", None),
        ("spool_directory", Path("/tmp")),
        ("spool_directory", b"/tmp"),
    ],
)
def test_wrong_type(name: str, value: Any) -> None:
    """No bool for a number, no number but 1 and 0 for a switch, no text for either."""
    kind = KINDS[type(DEFAULTS[name])]
    with pytest.raises(SettingsError) as caught:
        UploadSettings(**{name: value})
    assert str(caught.value) == f"{name}: expected {kind}, got {value!r}"


@pytest.mark.parametrize("name", [name for name in FIELDS if type(DEFAULTS[name]) is bool])
@pytest.mark.parametrize("value", [0, 1, False, True])
def test_a_switch_may_be_1_or_0(name: str, value: Any) -> None:
    """As the documentation writes them, from a configuration file as from the environment."""
    for settings in (
        UploadSettings(**{name: value}),
        UploadSettings.from_environment({}, {name: value}),
        from_environment(**{name: str(int(value))}),
    ):
        assert getattr(settings, name) is bool(value)


NUMBERS = [name for name in FIELDS if type(DEFAULTS[name]) in (int, float)]
BEYOND_ALL: list[Any] = [math.inf, -math.inf, math.nan, 1e300, -1, 10**18, 10**400, 2**63]


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_finite_bounds(name: str) -> None:
    """What would fail later, in a thread or a timer, is refused with a sentence at the start."""
    lowest, highest, _ = FIELDS[name].metadata["range"]
    assert 0 <= lowest <= DEFAULTS[name] <= highest < 2**53
    bound: Any
    for bound in (lowest, highest):
        assert getattr(UploadSettings(**{name: bound}), name) == bound
    for value in BEYOND_ALL:
        expected = r"at least .* and at most" if isinstance(value, kind_of(name)) else "a whole"
        with pytest.raises(SettingsError, match=rf"^{name}: expected .*{expected}"):
            UploadSettings(**{name: value})


def kind_of(name: str) -> Any:
    """What is a number for this setting."""
    return int if type(DEFAULTS[name]) is int else (int, float)


def test_the_probe_can_be_off() -> None:
    """0 is outside of its range, and still a value."""
    assert UploadSettings(loop_probe_ms=0).loop_probe_ms == 0
    with pytest.raises(SettingsError) as caught:
        UploadSettings(loop_probe_ms=0.5)
    assert str(caught.value) == (
        "loop_probe_ms: expected 0, or at least 1 and at most 1,000, got 0.5"
    )


def test_an_int_is_a_number_of_milliseconds() -> None:
    """slice_ms = 1 in a configuration file needs no decimal point."""
    assert UploadSettings(slice_ms=1).slice_ms == 1


def test_misspelt_variable() -> None:
    """The error names it and the likely spelling."""
    with pytest.raises(SettingsError) as caught:
        from_environment(slice_sm="1")
    assert str(caught.value) == (
        "unknown environment variable COOPERATIVE_UPLOAD_SLICE_SM: "
        "did you mean COOPERATIVE_UPLOAD_SLICE_MS?"
    )


def test_misspelt_attribute() -> None:
    """The same for an attribute of a worker class."""
    with pytest.raises(SettingsError) as caught:
        UploadSettings.from_environment({}, {"save_whol": False})
    assert str(caught.value) == "unknown upload setting save_whol: did you mean save_whole?"


def test_unlike_any_setting() -> None:
    """Where no name is near, all are listed."""
    with pytest.raises(SettingsError) as caught:
        UploadSettings.from_environment({}, {"qqqq": 1})
    assert str(caught.value).startswith("unknown upload setting qqqq: there are ")
    for name in FIELDS:
        assert name in str(caught.value)


def test_a_variable_unlike_any_other() -> None:
    """What all variables have in common makes none of them likely."""
    with pytest.raises(SettingsError) as caught:
        from_environment(qqqq="1")
    assert str(caught.value).startswith(
        "unknown environment variable COOPERATIVE_UPLOAD_QQQQ: there are COOPERATIVE_UPLOAD_"
    )


def test_precedence() -> None:
    """The environment goes before the worker class, which goes before the defaults."""
    attributes = {"slice_ms": 2.0, "writer_threads": 3}
    settings = UploadSettings.from_environment(
        {"COOPERATIVE_UPLOAD_SLICE_MS": "1", "PATH": "/bin", "cooperative_upload_slice_ms": "9"},
        attributes,
    )
    assert (settings.slice_ms, settings.writer_threads, settings.save_whole) == (1.0, 3, False)
    assert attributes == {"slice_ms": 2.0, "writer_threads": 3}


def test_no_environment() -> None:
    """Nothing set: the defaults."""
    assert UploadSettings.from_environment({}) == UploadSettings()


def test_spool_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Empty means what tempfile says, at the time of asking."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert UploadSettings().spool_path == str(tmp_path)
    assert UploadSettings(spool_directory="/x").spool_path == "/x"


def test_spool_directory_is_checked(tmp_path: Path) -> None:
    """A directory is fine; a file and nothing are named in the error."""
    UploadSettings(spool_directory=str(tmp_path)).check_spool_directory()
    file = tmp_path / "file"
    file.write_bytes(b"")
    for path in (str(file), str(tmp_path / "nothing")):
        with pytest.raises(
            SettingsError, match=r"^spool_directory: can't make files in "
        ) as caught:
            UploadSettings(spool_directory=path).check_spool_directory()
        assert repr(path) in str(caught.value)


def test_no_directory_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody has named one: a warning, with what was tried; one that is named is an error."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    nothing = str(tmp_path / "nothing")
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [nothing])
    assert UploadSettings().check_spool_directory() == (
        "No files of more than 512,000 bytes can be uploaded: No usable temporary directory found "
        f"in ['{nothing}']. spool_directory or TMPDIR names another directory."
    )
    UploadSettings(spool_directory=str(tmp_path)).check_spool_directory()
    with pytest.raises(SettingsError, match=f"^spool_directory: can't make files in '{nothing}'"):
        UploadSettings(spool_directory=nothing).check_spool_directory()


def test_the_systems_directory_has_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After Python had found it, or for a worker's user who has fewer rights."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nothing"))
    warning = UploadSettings().check_spool_directory()
    assert warning is not None
    assert f"uploaded: '{tmp_path / 'nothing'}': No such file or directory. " in warning


def test_spool_directory_without_permission() -> None:
    """Checked at boot, not at the first large upload."""
    with open_directory() as directory:
        directory.chmod(0o500)
        run_unprivileged(f"""
try:
    UploadSettings(spool_directory={str(directory)!r}).check_spool_directory()
except SettingsError as error:
    assert str(error).endswith("Permission denied"), error
else:
    raise SystemExit("not refused")
""")
