"""The folder of a LocalStorage: which path a key has, and which are nobody's keys.

The hidden folder `.uploads` in it holds what is no object yet. Every function that says so may
block on the disk, and is called by a thread.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets

from ..errors import UnsafePath
from ..forms import checked_names, path_below
from ..spool import fsync_directory
from .keys import check_key

HIDDEN = ".uploads"

# A name that a file has on its way to its own, on a disk that is mounted below the root.
_ON_ITS_WAY = re.compile(r"\.upload-[0-9a-f]{16}\Z")


class Folder:
    """root: an absolute path. fsync: whether names are on the medium when they are told."""

    def __init__(self, root: str, *, fsync: bool) -> None:
        self.root = root
        self.fsync = fsync
        self.hidden = os.path.join(root, HIDDEN)

    def check(self, key: str) -> None:
        """Raise UnsafePath for a key that this folder could not give back. Never waits."""
        check_key(key)
        names = checked_names(key)
        if names[0] == HIDDEN or any(_ON_ITS_WAY.match(name) for name in names):
            raise UnsafePath(f"The name {key!r} is that of an upload that is not done.")

    def path(self, key: str) -> str:
        """The path of a key, behind all symbolic links. It may block."""
        return os.fspath(path_below(self.root, key))

    def name(self, key: str) -> str:
        """The path at which the key's own name stands, itself maybe a symbolic link, likewise."""
        directory, _, name = key.rpartition("/")
        return os.path.join(self.path(directory) if directory else self.root, name)

    def directory_for(self, path: str) -> str:
        """The nearest directory that is there and will hold the path, likewise."""
        directory = os.path.dirname(path)
        while len(directory) > len(self.root) and not os.path.isdir(directory):
            directory = os.path.dirname(directory)
        return directory

    def make_directories(self, path: str) -> None:
        """Those between the root, which has to be there, and the path. It may block."""
        directory = os.path.dirname(path)
        top = self.directory_for(path)
        missing = os.path.relpath(directory, top).split(os.sep) if directory != top else []
        for name in missing:
            with contextlib.suppress(FileExistsError):
                os.mkdir(os.path.join(top, name))
            self.sync(top)
            top = os.path.join(top, name)

    def remove_empty_directories(self, path: str) -> None:
        """Those between the root and the path that hold nothing any more. It may block."""
        directory = os.path.dirname(path)
        with contextlib.suppress(OSError):
            while len(directory) > len(os.path.realpath(self.root)):
                os.rmdir(directory)
                directory = os.path.dirname(directory)

    def make_hidden(self) -> None:
        """The hidden folder. It may block."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.hidden)
            self.sync(self.root)

    def sync(self, directory: str) -> None:
        """Have the names in a directory on the medium, unless the setting says no."""
        if self.fsync:
            fsync_directory(directory)

    def sync_file(self, descriptor: int) -> None:
        """Have the content of a file and its length on the medium, likewise."""
        if self.fsync:
            os.fdatasync(descriptor)

    def hidden_path(self) -> str:
        """A path in the hidden folder that nobody else has."""
        return os.path.join(self.hidden, secrets.token_hex(16))
