"""What a file system has no place for: the media type of an object, its metadata, its writing.

They are JSON in one extended attribute, `user.cooperative_upload`, which goes with the file when
it is renamed, linked, or copied by what knows of attributes, and ends with it. Where the file
system has none (NFS before 4.2, FAT, tmpfs before Linux 6.6), or no room for it (ext4 has 4 KiB
for all of a file's), it is a file in `.uploads/described`, by the key and the number of the inode:
so that one that was left behind is never taken for that of a newer object.

All functions here may block on the disk.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..spool import write_all
from .contract import Description, Stored
from .local_folder import Folder

_ATTRIBUTE = "user.cooperative_upload"

# No attributes, none of this kind, or no room for one: ext4 says ENOSPC of its own 4 KiB.
_NO_PLACE = frozenset(
    {errno.E2BIG, errno.ENODATA, errno.ENOSPC, errno.ENOSYS, errno.EOPNOTSUPP, errno.ERANGE}
)


@dataclass(frozen=True)
class Record:
    """What is known of an object beside its content.

    writing: the id of the writing that made it; "" for a deposit.
    """

    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    writing: str = ""

    @classmethod
    def of(cls, description: Description, writing: str = "") -> Record:
        """That of an object that is described so."""
        return cls(description.content_type, dict(description.metadata), writing)


_NOTHING = Record()


def save_record(folder: Folder, key: str, descriptor: int, record: Record) -> None:
    """Keep what is known of the file that becomes the object."""
    if record == _NOTHING:
        return
    content = json.dumps(asdict(record), ensure_ascii=False).encode()
    try:
        os.setxattr(descriptor, _ATTRIBUTE, content)
    except OSError as error:
        if error.errno not in _NO_PLACE:
            raise
    except AttributeError:  # Linux alone has it
        pass
    else:
        return
    _save_beside(folder, _path_beside(folder, key, os.fstat(descriptor)), content)


def load_record(folder: Folder, key: str, file: int | str) -> Record:
    """What was kept; nothing of a file that somebody put there by other means."""
    try:
        return _parsed(os.getxattr(file, _ATTRIBUTE))
    except OSError as error:
        if error.errno not in _NO_PLACE:
            raise
    except AttributeError:
        pass
    try:
        with open(_path_beside(folder, key, os.stat(file)), "rb") as beside:
            return _parsed(beside.read())
    except FileNotFoundError:
        return _NOTHING


def forget_record(folder: Folder, key: str, status: os.stat_result) -> None:
    """Remove what is kept beside of a file that is not the object any more."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_path_beside(folder, key, status))


def stored_at(key: str, status: os.stat_result, record: Record) -> Stored:
    """What is told of the object that a file is."""
    return Stored(
        key,
        status.st_size,
        datetime.datetime.fromtimestamp(status.st_mtime, datetime.timezone.utc),
        etag=f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}",
        content_type=record.content_type,
        metadata=dict(record.metadata),
    )


def _path_beside(folder: Folder, key: str, status: os.stat_result) -> str:
    name = f"{hashlib.sha256(key.encode()).hexdigest()[:32]}-{status.st_dev}-{status.st_ino}"
    return os.path.join(folder.hidden, "described", name)


def _save_beside(folder: Folder, path: str, content: bytes) -> None:
    folder.make_hidden()
    directory = os.path.dirname(path)
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory)
        folder.sync(folder.hidden)
    temporary = f"{path}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        write_all(descriptor, [content], 0)
        folder.sync_file(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
    folder.sync(directory)


def _parsed(content: bytes) -> Record:
    """What was kept; nothing of what is none of ours."""
    try:
        values: Any = json.loads(content)
        return Record(values["content_type"], dict(values["metadata"]), str(values["writing"]))
    except (ValueError, KeyError, TypeError):
        return _NOTHING
