"""Paths that come from a client, and never lead out of the directory they belong to.

Names are kept as they are, or refused with a sentence that says what in them is refused and why;
none is changed, for two names would become one file. By default that is what is dangerous on the
systems that this package runs on: what leads elsewhere, what breaks lines in logs and terminals,
and what shows a name in another order than it has. Names that are only unusual, or that another
system can't have, are kept.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

from ..errors import UnsafePath
from ..settings_in_force import settings_in_force
from ..turns import current_writer

_LONGEST_NAME = 255  # bytes of one name on the file systems of Linux (NAME_MAX)
_LONGEST_PATH = 4095  # bytes of a path that the kernel takes (PATH_MAX, which counts the end)

# Embeddings, overrides and isolates (UAX #9). The marks U+200E, U+200F and U+061C turn nothing
# around: they are invisible letters, and stand in the names of files that are copied from
# messengers and in those of right-to-left scripts.
_TURNS_TEXT_AROUND = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_OF_CATEGORY = {
    "Cc": "which is a control character",
    "Cs": "which is half of a character",
    "Zl": "which ends a line",
    "Zp": "which ends a line",
}

_NOT_ON_WINDOWS = frozenset('<>:"|?*')

# Devices of Windows, in any case and with any extension. pathlib's own question for them is
# deprecated since Python 3.13.
_RESERVED = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    | {f"{port}{number}" for port in ("COM", "LPT") for number in "123456789"}
)


def path_below(directory: str | os.PathLike[str], name: str, *, for_windows: bool = False) -> Path:
    """The absolute path of `name`, which a client gave, below a directory of the server's.

    name: one or more names with slashes between them, relative.
    for_windows: for files that go to Windows, or to a share that it mounts: what it takes for
        something else is refused too. Those are the characters < > : " | ? *, a dot or a space
        at the end, the names of devices (CON, aux.c, COM1), and whatever becomes one of these by
        normalisation (NFKC), such as a full-width colon.
    Raises UnsafePath, an HTTP status 400 with a sentence that names the character or the rule,
        for a name that leads elsewhere, also by a symbolic link: empty, "." or "..", absolute; for
        one with a backslash, a control character, or one that turns text around; and for one
        that is longer than 255 bytes or, with its directory, longer than a path may be.

    Looks at the disk for symbolic links alone, in a thread where a hub runs the caller; the path
    need not exist.
    """
    names = checked_names(name)
    if for_windows:
        for one in names:
            _check_for_windows(one)
    looking = current_writer(settings_in_force()).start(_followed, os.fspath(directory), names)
    root, path = looking.result()
    if os.path.commonpath([root, path]) != root or path == root:
        raise UnsafePath("The name of the file leads out of its directory.")
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise UnsafePath("The name of the file has too many directories.")
    return Path(path)


def checked_names(path: str) -> list[str]:
    """The names of a relative path. Raises UnsafePath as path_below() does, without a look."""
    names = path.split("/")
    for name in names:
        _check(name, path)
    return names


def _followed(directory: str, names: list[str]) -> tuple[str, str]:
    """The directory and the path behind all symbolic links. It may block: on a network drive."""
    root = os.path.realpath(directory)
    return root, os.path.realpath(os.path.join(root, *names))


def _check(name: str, path: str) -> None:
    if not path:
        raise UnsafePath("The name of the file is empty.")
    if not name:
        raise UnsafePath("The name of the file begins or ends with a slash, or has two in a row.")
    if name in (".", ".."):
        raise UnsafePath(f"A file can't have the name {name!r}.")
    _check_characters(name, _what_is_wrong_with)
    length = len(os.fsencode(name))
    if length > _LONGEST_NAME:
        raise UnsafePath(
            f"The name of the file is too long: got {length:,} bytes, at most {_LONGEST_NAME}."
        )


def _check_for_windows(name: str) -> None:
    _check_characters(name, _what_is_wrong_on_windows)
    compatible = unicodedata.normalize("NFKC", name)
    if compatible[-1] in ". ":
        raise UnsafePath(
            "The name of the file ends with a dot or a space, which Windows would take off."
        )
    stem = compatible.partition(".")[0].rstrip(" ").upper()
    if stem in _RESERVED:
        raise UnsafePath(f"The name of the file is that of a device on Windows: {stem}.")


def _check_characters(name: str, what_is_wrong: Callable[[str], str | None]) -> None:
    for character in name:
        if wrong := what_is_wrong(character):
            raise UnsafePath(
                f"The name of the file has the character {_described(character)}, {wrong}."
            )


def _what_is_wrong_with(character: str) -> str | None:
    if character == "\\":
        return "which separates directories on Windows"
    if character in _TURNS_TEXT_AROUND:
        return "which shows what is behind it in another order"
    return _OF_CATEGORY.get(unicodedata.category(character))


def _what_is_wrong_on_windows(character: str) -> str | None:
    if character in _NOT_ON_WINDOWS:
        return "which Windows does not allow"
    for one in unicodedata.normalize("NFKC", character):
        if one in _NOT_ON_WINDOWS or one in "/\\":
            return f"which some systems take for {one}"
    return None


def _described(character: str) -> str:
    code, name = f"U+{ord(character):04X}", unicodedata.name(character, "")
    return f"{code} ({name})" if name else code
