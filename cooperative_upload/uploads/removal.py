"""Taking away what the storage has of an upload. Again is harmless."""

from __future__ import annotations

from ..errors import AlreadyStored, NotStored
from ..storage import Storage
from .record import Upload


def take_bytes_away(storage: Storage, upload: Upload) -> None:
    """Leave nothing of it in the storage, and what is somebody else's there."""
    if upload.token is None:
        if upload.refusal is None and not upload.parts:
            storage.delete(upload.key)  # it was ready
        return
    if upload.placing and _is_in_place(storage, upload):
        storage.delete(upload.key)
    storage.abort(upload.token)


def _is_in_place(storage: Storage, upload: Upload) -> bool:
    """Whether its object is there, and not another one of that name; it may be put there now.

    A worker was killed, or a check failed, somewhere between the beginning of the commit and what
    was to be told of it.
    """
    assert upload.token is not None
    try:
        storage.commit(upload.token, upload.size or 0)
    except (AlreadyStored, NotStored, ValueError):
        return False
    return True
