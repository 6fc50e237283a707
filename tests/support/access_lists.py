"""POSIX access control lists (acl(5)), as the kernel keeps them in extended attributes."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import pytest

ACCESS = "system.posix_acl_access"
DEFAULT = "system.posix_acl_default"

_TAGS = {"user:": 1, "user": 2, "group:": 4, "group": 8, "mask": 16, "other": 32}
_NOBODYS = 0xFFFFFFFF


def set_list(path: Path, text: str, kind: str = ACCESS) -> None:
    """Give a file a list, written as for setfacl: "user::rw-,group::---,other::---".

    Skips the test where the file system knows no lists.
    """
    entries = [_entry(entry) for entry in text.split(",")]
    try:
        os.setxattr(path, kind, struct.pack("<I", 2) + b"".join(sorted(entries)))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        pytest.skip("the file system has no access control lists")


def _entry(text: str) -> bytes:
    kind, who, rights = text.split(":")
    tag = _TAGS[kind if who or kind in ("mask", "other") else f"{kind}:"]
    bits = sum(bit for bit, letter in zip((4, 2, 1), "rwx", strict=True) if letter in rights)
    return struct.pack("<HHI", tag, bits, int(who) if who else _NOBODYS)


def attributes(path: Path | int) -> dict[str, bytes]:
    """All extended attributes of a file, its lists among them."""
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}
