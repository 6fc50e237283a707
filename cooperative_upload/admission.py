"""How many uploads may run at once, in this worker and from one client.

Who finds no place waits for one, first come, first served, for as long as the settings say, and
is refused with TooManyUploads then. A limit that is off costs nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gevent.lock import BoundedSemaphore

from .errors import TooManyUploads
from .settings import UploadSettings


class Admission:
    """The places of one worker."""

    def __init__(self, settings: UploadSettings) -> None:
        self._settings = settings
        self._places = BoundedSemaphore(settings.max_uploads) if settings.max_uploads else None
        self._places_of: dict[str, BoundedSemaphore] = {}
        self._interest: dict[str, int] = {}  # uploads of a client that hold a place or wait

    @contextlib.contextmanager
    def upload_from(self, client: str) -> Iterator[None]:
        """A place for one upload, for as long as the block runs. Raises TooManyUploads.

        client: its address.
        """
        # The client's own limit comes first: who waits there takes no place from the others.
        with self._place_of(client), self._place(self._places, "this server"):
            yield

    @contextlib.contextmanager
    def _place_of(self, client: str) -> Iterator[None]:
        limit = self._settings.max_uploads_per_client
        if not limit:
            yield
            return
        places = self._places_of.setdefault(client, BoundedSemaphore(limit))
        self._interest[client] = self._interest.get(client, 0) + 1
        try:
            with self._place(places, "this client"):
                yield
        finally:
            self._interest[client] -= 1
            if not self._interest[client]:
                del self._interest[client], self._places_of[client]

    @contextlib.contextmanager
    def _place(self, places: BoundedSemaphore | None, whose: str) -> Iterator[None]:
        if places is None:
            yield
            return
        settings = self._settings
        wait = settings.max_uploads_wait_seconds
        if not places.acquire(blocking=wait > 0, timeout=wait or None):
            limit = (
                settings.max_uploads
                if places is self._places
                else (settings.max_uploads_per_client)
            )
            raise TooManyUploads(whose, limit, settings.retry_after_seconds)
        try:
            yield
        finally:
            places.release()
