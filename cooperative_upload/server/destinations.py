"""What the URL of a command means: which storage, and which key in it. Texts alone.

    s3://bucket/key   swift://container/key   file:///folder/key

A key is taken as it stands, as the tools of these stores do. The path of a file is one of a URL,
where %20 is a space; its folder is the storage, and its name the key. Below a URL that ends in a
slash, or that names a bucket alone, files have their own names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

STDIN = "-"


class NoDestination(ValueError):
    """The command names nothing that something could be sent to; its text is the sentence."""


@dataclass(frozen=True)
class Destination:
    """storage: the URL of the whole bucket, container or folder. key: in it; may be empty."""

    storage: str
    key: str

    @property
    def url(self) -> str:
        is_file = self.storage.startswith("file://")
        slash = "" if self.storage.endswith("/") else "/"
        return f"{self.storage}{slash}{quote(self.key) if is_file else self.key}"


def split_url(url: str) -> Destination:
    """Storage and key of a URL. Raises NoDestination."""
    scheme, separator, rest = url.partition("://")
    if not separator or not scheme:
        raise NoDestination(
            f"{url!r} is no URL of a storage: s3://bucket/key, swift://container/key or "
            "file:///path."
        )
    if scheme == "file":
        folder, _, key = rest.rpartition("/")
        if not rest.startswith("/"):
            raise NoDestination(f"{url!r} names no path: file:/// has three slashes.")
        return Destination(f"file://{folder or '/'}", unquote(key, errors="surrogateescape"))
    root, _, key = rest.partition("/")
    if not root:
        raise NoDestination(f"{url!r} names no bucket or container.")
    return Destination(f"{scheme}://{root}", key)


def destinations(files: Sequence[str], url: str) -> list[Destination]:
    """Where each of the files goes. Raises NoDestination, also for two of one key."""
    target = split_url(url)
    below = len(files) > 1 or target.key == "" or target.key.endswith("/")
    if not below:
        return [target]
    if STDIN in files:
        raise NoDestination(
            "What comes from the standard input has no name of its own: give it alone, and a URL "
            "with a key."
        )
    folder = f"{target.key.rstrip('/')}/" if target.key else ""
    if target.storage.startswith("file://") and folder:  # several files below file:///path
        target, folder = Destination(target.url, ""), ""
    found = [Destination(target.storage, folder + Path(file).name) for file in files]
    taken = set()
    for file, destination in zip(files, found, strict=True):
        if not Path(file).name:
            raise NoDestination(f"{file!r} has no name.")
        if destination.key in taken:
            raise NoDestination(f"{file}: another of the files goes to {destination.url}, too.")
        taken.add(destination.key)
    return found
