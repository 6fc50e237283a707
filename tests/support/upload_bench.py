"""A service of uploads on a database, with a storage in memory, for tests of its verbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from greenlets import in_greenlet
from memory_storage import MemoryStorage
from upload_services import NO_HOOKS, service

from cooperative_upload.uploads import Creation, Hooks, UploadService

T = TypeVar("T")

DATA = bytes(range(256)) * 40
MINE = Creation("me", size=len(DATA), name="film.mp4", content_type="video/mp4")


class Bench:
    """A service on a database, and how to run a test with it."""

    def __init__(self, storage: MemoryStorage, database: str) -> None:
        self.storage = storage
        self.database = database

    def run(
        self, test: Callable[[UploadService], T], hooks: Hooks = NO_HOOKS, **settings: Any
    ) -> T:
        """What the test returns in a greenlet."""

        def run() -> T:
            with service(self.storage, self.database, hooks, **settings) as uploads:
                return test(uploads)

        return in_greenlet(run)
