"""Hooks: what an application does at each step of an upload.

All of them are called in a greenlet, and may wait with gevent's means. What blocks otherwise is
the application's to put into a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..storage import Content
from .record import Limits, Upload


@dataclass(frozen=True)
class Grant:
    """Who may upload, and how much.

    owner: any text that names whose the uploads are: a user's id, a tenant's.
    limits: what the owner may have.
    """

    owner: str
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Hooks:
    """What the application is asked and told. None: nothing.

    first_bytes: the upload, and the first bytes of its content (4 KiB, fewer only if the first
        request brings fewer), before any is stored. Raises RefusedUpload.
    received: the upload, and a function that opens its content, when all of it is there: for
        scanning and checking. It may take long: the client is told to ask again. It is called
        again where a worker was killed meanwhile. Raises RefusedUpload.
    ready: the upload is in its place. At least once, in order with `removed`; what it raises is
        logged, and it is called again after a while, until it raises nothing.
    removed: the upload, ready or not, is gone, with its bytes; as `ready`.
    Uploads that are to become parts of others are left out; the whole is not, and its first bytes
    are looked at when all of it is there.
    """

    first_bytes: Callable[[Upload, bytes], object] | None = None
    received: Callable[[Upload, Callable[[], Content]], object] | None = None
    ready: Callable[[Upload], object] | None = None
    removed: Callable[[Upload], object] | None = None
