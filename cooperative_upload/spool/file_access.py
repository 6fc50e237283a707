"""Who may do what with a file: owner, group, mode and POSIX access control list.

What is put in the place of a file, or comes to a name in another directory, must not be open to
anybody whom the file in its place would have kept out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

# The access control list of a file as the kernel tells it (acl(5)); Linux alone has it.
_ACCESS_LIST = "system.posix_acl_access"

_NO_LIST = frozenset({errno.ENODATA, errno.EOPNOTSUPP, errno.ENOSYS})


def is_alike(one: int, other: int) -> bool:
    """Whether two open files differ in nothing but their content.

    Device, owner, group, mode, and every extended attribute: the access control list that a
    directory gives its new files, and the labels of SELinux and Smack.
    """
    return _status(one) == _status(other) and _attributes(one) == _attributes(other)


def take_over_access(descriptor: int, existing: os.stat_result, path: int | str) -> None:
    """Give an open file the owner, mode and access control list of the one at `path`.

    Not the bits for set-user-ID, set-group-ID and sticky: they spoke of the content that was
    there. Where the group can't be given, the group that the file has gets no more than
    everybody has, and the list is left out. Raises OSError where the mode or the list can't be
    given.
    """
    mode = stat.S_IMODE(existing.st_mode) & 0o777
    access_list = _access_list(path)
    if not _owner_taken_over(descriptor, existing):
        # With a list, the group's bits of the mode are its mask (acl(5)).
        mode = mode & ~stat.S_IRWXG | mode & (mode & stat.S_IRWXO) << 3
        access_list = None
    if access_list is not None:
        os.setxattr(descriptor, _ACCESS_LIST, access_list)
    elif _access_list(descriptor) is not None:
        os.removexattr(descriptor, _ACCESS_LIST)
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:  # some mounts refuse every change
        os.fchmod(descriptor, mode)


def _owner_taken_over(descriptor: int, existing: os.stat_result) -> bool:
    """Give the file its owner and group, as far as this process may; whether it has the group."""
    own = os.fstat(descriptor)
    if (own.st_uid, own.st_gid) != (existing.st_uid, existing.st_gid):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, -1, existing.st_gid)
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, existing.st_uid, -1)
    return os.fstat(descriptor).st_gid == existing.st_gid


def _access_list(file: int | str) -> bytes | None:
    try:
        return os.getxattr(file, _ACCESS_LIST)
    except AttributeError:
        return None
    except OSError as error:
        if error.errno in _NO_LIST:
            return None
        raise


def _status(descriptor: int) -> tuple[int, int, int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_uid, status.st_gid, status.st_mode


def _attributes(descriptor: int) -> dict[str, bytes]:
    try:
        names = os.listxattr(descriptor)
    except AttributeError:
        return {}
    except OSError as error:
        if error.errno in _NO_LIST:
            return {}
        raise
    return {name: os.getxattr(descriptor, name) for name in names}
