"""What a disk says, as the errors of a storage."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from ..errors import AlreadyStored, StorageError, StorageRefused, StorageUnavailable

# A network drive, or a file system of a program, that is away.
_AWAY = frozenset(
    {
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENOTCONN,
        errno.EREMOTEIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)

# What the operator has to mend: no right, mounted for reading, the folder gone.
_SET_UP_WRONGLY = frozenset({errno.EACCES, errno.ENOENT, errno.EPERM, errno.EROFS})

# A file where a folder is wanted, or a folder where a file is.
_IN_THE_WAY = frozenset({errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY})


@contextlib.contextmanager
def errors_of_disk(key: str) -> Iterator[None]:
    """In the block an OSError is raised as what it means for the object of that key."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if error.errno in _IN_THE_WAY:
            raise AlreadyStored(key) from error
        raise _meaning(error)(error) from error


def _meaning(error: OSError) -> type[StorageError]:
    if error.errno in _AWAY:
        return StorageUnavailable
    if error.errno in _SET_UP_WRONGLY:
        return StorageRefused
    return StorageError
