"""Paths that come from a client, and never lead out of the directory they belong to."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from .errors import UnsafePath

_LONGEST_NAME = 255  # bytes of one name on the file systems of Linux (NAME_MAX)
_LONGEST_PATH = 4095  # bytes of a path that the kernel takes (PATH_MAX, which counts the end)

# They make a name look like another one: embeddings, overrides and isolates (UAX #9).
_TURNS_TEXT_AROUND = frozenset(
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"
)


# Devices of Windows, in any case and with any extension. pathlib's own question for them is
# deprecated since Python 3.13, and what takes its place also refuses names with "?" or "*".
_RESERVED = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    | {f"{port}{number}" for port in ("COM", "LPT") for number in "123456789\xb9\xb2\xb3"}
)


def path_below(directory: str | os.PathLike[str], name: str) -> Path:
    """The absolute path of `name`, which a client gave, below a directory of the server's.

    name: one or more names with slashes between them, relative. Raises UnsafePath, an HTTP
        status 400, for one that leads elsewhere, also by a symbolic link, or that is none that
        can be trusted on every system: empty, "." or "..", absolute, with a backslash, a colon
        or control characters, reserved on Windows, longer than 255 bytes
        or, with its directory, longer than a path may be.

    Looks at the disk for symbolic links alone; the path need not exist.
    """
    names = name.split("/")
    for one in names:
        _check(one)
    root = os.path.realpath(directory)
    path = os.path.realpath(os.path.join(root, *names))
    if os.path.commonpath([root, path]) != root or path == root:
        raise UnsafePath("The name of the file leads out of its directory.")
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise UnsafePath("The name of the file has too many directories.")
    return Path(path)


def _check(name: str) -> None:
    if name in ("", ".", ".."):
        raise UnsafePath(f"A file can't have the name {name!r}.")
    if not _is_plain(name):
        raise UnsafePath("The name of the file has characters that it can't have.")
    try:
        length = len(os.fsencode(name))
    except UnicodeEncodeError:
        raise UnsafePath("The name of the file has characters that it can't have.") from None
    if length > _LONGEST_NAME:
        raise UnsafePath(
            f"The name of the file is too long: got {length:,} bytes, at most {_LONGEST_NAME}."
        )
    # What it looks like, and becomes on systems that normalise: full-width dots, for one.
    compatible = unicodedata.normalize("NFKC", name)
    if compatible in (".", "..") or not _is_plain(compatible):
        raise UnsafePath("The name of the file has characters that stand for others.")
    if name.partition(".")[0].rstrip(" ").upper() in _RESERVED or name[-1] in ". ":
        raise UnsafePath("The name of the file is reserved on Windows.")


def _is_plain(name: str) -> bool:
    return not any(
        character in "/\\:" or character in _TURNS_TEXT_AROUND or _is_control(character)
        for character in name
    )


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
