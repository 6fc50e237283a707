"""Paths from clients: what is a file below the directory, and what is refused."""

from __future__ import annotations

import os
import threading
import unicodedata
from pathlib import Path
from typing import Any

import gevent
import pytest
from greenlets import DEADLINE, hub_writer, join, wait_until
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cooperative_upload.errors import UnsafePath
from cooperative_upload.forms.safe_path import path_below

GOOD = [
    "file.bin",
    "a/b/c.bin",
    "with space.txt",
    "ümläut.txt",
    "日本語/ファイル.bin",
    "👩‍💻.txt",  # joined by U+200D, which is a format character too
    ".hidden",
    "..two-dots-that-are-no-parent",
    "a..b",
    "~root",
    "-rf",
    "%2e%2e",
    "$HOME",
    "x" * 255,
    "/".join(["deep"] * 100),
    "\u200eWhatsApp Image.jpeg",
    "\u200fק\u05d5בץ.txt",
    "\u061cملف.txt",
]

# For Windows each is refused, for the character or the words behind it.
NOT_FOR_WINDOWS = {
    "Q3: results.pdf": "U+003A (COLON)",
    "C:/windows": "U+003A (COLON)",
    "file.txt:stream": "U+003A (COLON)",
    "what?.txt": "U+003F (QUESTION MARK)",
    'a "b".txt': "U+0022 (QUOTATION MARK)",
    "a<b": "U+003C",
    "a>b": "U+003E",
    "a|b": "U+007C",
    "a*b": "U+002A",
    "Q3\uff1a results.pdf": "U+FF1A (FULLWIDTH COLON), which some systems take for :",
    "what\uff1f": "U+FF1F (FULLWIDTH QUESTION MARK), which some systems take for ?",
    "1\uff0f2.pdf": "U+FF0F (FULLWIDTH SOLIDUS), which some systems take for /",
    "a\uff3cb": "U+FF3C (FULLWIDTH REVERSE SOLIDUS), which some systems take for \\",
    "a℀b": "U+2100 (ACCOUNT OF), which some systems take for /",
    "aux.c": "a device on Windows: AUX",
    "CON": "a device on Windows: CON",
    "nul.tar.gz": "a device on Windows: NUL",
    "nul .txt": "a device on Windows: NUL",
    "COM1": "a device on Windows: COM1",
    "com¹.txt": "a device on Windows: COM1",
    "\uff23\uff2f\uff2d\uff11": "a device on Windows: COM1",
    "\uff4c\uff50\uff549\uff0etxt": "a device on Windows: LPT9",
    "conin$": "a device on Windows: CONIN$",
    "file.": "ends with a dot or a space",
    "file ": "ends with a dot or a space",
    "file\uff0e": "ends with a dot or a space",
    "file\u3000": "ends with a dot or a space",
    "\uff0e\uff0e": "ends with a dot or a space",
    "\u2024\u2024": "ends with a dot or a space",
    "\u2025": "ends with a dot or a space",
}

# Each is refused everywhere, with these words.
BAD = {
    "": "is empty",
    ".": "can't have the name '.'",
    "..": "can't have the name '..'",
    "a/../b": "can't have the name '..'",
    "../../etc/passwd": "can't have the name '..'",
    "a/..": "can't have the name '..'",
    "/etc/passwd": "begins or ends with a slash",
    "a//b": "two in a row",
    "a/": "begins or ends with a slash",
    "a\\..\\b": "U+005C (REVERSE SOLIDUS), which separates directories",
    "a\0b": "U+0000, which is a control character",
    "a\nb": "U+000A, which is a control character",
    "a\rb": "U+000D",
    "a\x1b[2Jb": "U+001B",
    "a\x7fb": "U+007F",
    "a\x85b": "U+0085",
    "a\u2028b": "U+2028 (LINE SEPARATOR), which ends a line",
    "a\u2029b": "U+2029 (PARAGRAPH SEPARATOR), which ends a line",
    "exe.\u202egpj": "U+202E (RIGHT-TO-LEFT OVERRIDE), which shows",
    "a\u2066b": "U+2066 (LEFT-TO-RIGHT ISOLATE)",
    "a\ud800b": "U+D800, which is half of a character",
    "x" * 256: "got 256 bytes, at most 255",
    "ü" * 128: "got 256 bytes, at most 255",
    "x" * 10_000: "got 10,000 bytes, at most 255",
}


@pytest.mark.parametrize("name", [*GOOD, *NOT_FOR_WINDOWS])
def test_a_file_below(tmp_path: Path, name: str) -> None:
    """The path that one expects, which need not exist, and can be made."""
    path = path_below(tmp_path, name)
    assert path == Path(os.path.realpath(tmp_path), *name.split("/"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"content")
    assert path.parent.samefile(tmp_path) or "/" in name


@pytest.mark.parametrize("name", GOOD)
def test_a_file_for_windows(tmp_path: Path, name: str) -> None:
    """What any system can have is kept there too."""
    assert path_below(tmp_path, name, for_windows=True) == path_below(tmp_path, name)


@pytest.mark.parametrize(("name", "words"), NOT_FOR_WINDOWS.items())
def test_refused_for_windows(tmp_path: Path, name: str, words: str) -> None:
    check_refused(tmp_path, name, words, for_windows=True)


@pytest.mark.parametrize("for_windows", [False, True])
@pytest.mark.parametrize(("name", "words"), BAD.items())
def test_refused(tmp_path: Path, name: str, words: str, for_windows: bool) -> None:
    check_refused(tmp_path, name, words, for_windows)


def check_refused(directory: Path, name: str, words: str, for_windows: bool) -> None:
    """A 400 that says what is wrong, alone and as the last of several names."""
    for whole in (name, f"directory/{name}"):
        with pytest.raises(UnsafePath) as caught:
            path_below(directory, whole, for_windows=for_windows)
        assert caught.value.code == 400
        assert caught.value.description is not None
        assert len(caught.value.description) < 200
        assert words in caught.value.description or whole == "directory/"


def test_symbolic_links(tmp_path: Path) -> None:
    """One that stays inside is followed, one that leads out is refused, as directory and file."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "real").mkdir(parents=True)
    outside.mkdir()
    (root / "inside").symlink_to(root / "real")
    (root / "out").symlink_to(outside)
    (root / "file").symlink_to(outside / "file")
    (root / "up").symlink_to("..")
    assert path_below(root, "inside/a") == root / "real" / "a"
    for name in ("out", "out/a", "file", "up", "up/root2"):
        with pytest.raises(UnsafePath, match="leads out"):
            path_below(root, name)


def test_a_directory_with_a_longer_name_is_outside(tmp_path: Path) -> None:
    """/root-2 begins like /root, and does not lie below it."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root-2").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "root-2")
    with pytest.raises(UnsafePath):
        path_below(tmp_path / "root", "link/file")


def test_a_directory_that_is_a_link(tmp_path: Path) -> None:
    """The server's own directory may be one."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert path_below(tmp_path / "link", "a") == tmp_path / "real" / "a"


PATHS = st.text() | st.lists(
    st.sampled_from(["..", ".", "a", "", "\0", "~", "\uff0e\uff0e", "COM1", ":"])
).map("/".join)
hypothesis_settings = settings(derandomize="CI" in os.environ, deadline=None)


@hypothesis_settings
@given(PATHS, st.booleans())
def test_never_outside(name: str, for_windows: bool) -> None:
    """Whatever the name is: the path of just that name, strictly below, or UnsafePath."""
    try:
        path = path_below("/some/where", name, for_windows=for_windows)
    except UnsafePath:
        return
    assert Path("/some/where") in path.parents
    assert str(path) == f"/some/where/{name}"


@hypothesis_settings
@given(st.text(min_size=1, max_size=60))
@example("\u061c")
def test_what_is_no_danger_is_kept(name: str) -> None:
    """A single name is refused for what it is, or for a character that is named."""
    try:
        path_below("/some/where", name)
    except UnsafePath as error:
        sentence = str(error.description)
    else:
        return
    lines = [c for c in name if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    turns = [c for c in name if unicodedata.bidirectional(c) in BIDIRECTIONAL]
    bad = [c for c in name if c in "/\\"] + lines + turns
    assert bad or name in (".", "..") or len(name.encode()) > 255
    if bad and "/" not in name:
        assert any(f"U+{ord(c):04X}" in sentence for c in bad)


# The classes of embeddings, overrides, isolates and their ends (UAX #9 table 4).
BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@hypothesis_settings
@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=30))
@example("\uff41\uff55\uff58\uff0e\uff43")
@example("a\u037e")
@example("…")
@example("0/0")
@example("0/aux")
def test_what_windows_gets_is_a_name_there(name: str) -> None:
    """As it is and normalised: none of its characters, ends and devices; nor is more refused."""
    try:
        path_below("/some/where", name)
    except UnsafePath:
        return
    wrong = any(_is_none_on_windows(one) for one in name.split("/"))
    try:
        path_below("/some/where", name, for_windows=True)
    except UnsafePath:
        assert wrong
    else:
        assert not wrong


def _is_none_on_windows(name: str) -> bool:
    compatible = unicodedata.normalize("NFKC", name)
    return (
        bool(set(name + compatible) & set('<>:"|?*\\/'))
        or compatible[-1] in ". "
        or compatible.split(".")[0].rstrip(" ").upper() in DEVICES
    )


DEVICES = {
    *("CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"),
    *(f"COM{number}" for number in range(1, 10)),
    *(f"LPT{number}" for number in range(1, 10)),
}


def test_links_are_followed_by_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network drive that is away holds up who asked, and not the loop."""
    asked, answer = threading.Event(), threading.Event()
    real = os.path.realpath

    def slow(path: Any) -> Any:
        asked.set()
        answer.wait(DEADLINE)
        return real(path)

    monkeypatch.setattr(os.path, "realpath", slow)
    with hub_writer():
        asking: Any = gevent.spawn(path_below, tmp_path, "name")
        wait_until(asked.is_set)  # the loop runs
        answer.set()
        join(asking)
    assert asking.value == tmp_path / "name"
