"""Keys: what every storage asks of them. Text alone; a storage may ask for more."""

from __future__ import annotations

from ..errors import UnsafePath

LONGEST_KEY = 1024  # bytes in UTF-8: S3's limit, which is Swift's too


def check_key(key: str) -> None:
    """Raise UnsafePath for a key that no storage takes."""
    if not key:
        raise UnsafePath("The name is empty.")
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise UnsafePath("The name has half of a character.") from None
    if length > LONGEST_KEY:
        raise UnsafePath(f"The name is too long: got {length:,} bytes, at most {LONGEST_KEY:,}.")
    if "\0" in key:
        raise UnsafePath("The name has the character U+0000, which ends a text.")
    if not {".", ".."}.isdisjoint(key.split("/")):
        raise UnsafePath("The name has a '.' or '..' between its slashes.")
