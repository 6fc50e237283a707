"""The sweeper: ends what was abandoned, finishes what was left behind, tells what was not taken.

One process does it for all that share a database, the one that has the duty; where it ends another
one takes it in its next round. A round may be cut anywhere, and taken twice.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import time
from collections.abc import Callable

from ..errors import RequestError
from ..settings import UploadSettings
from ..storage import Storage
from .finishing import Finishing
from .leases import Leases
from .outbox import Outbox
from .record import State, Upload, expired_at, made_expired
from .refusals import NoSuchUpload, UploadRefusal
from .registry import Registry
from .removal import take_bytes_away

# Uploads of one query; a round goes on until there are no more.
_AT_ONCE = 100

# Rounds of the sweeper between two looks for what nobody knows of: those go through all of a
# storage.
_ORPHANS_EVERY = 60

# A writing that the registry does not know may be one that is just being created.
_ORPHANS_AFTER = datetime.timedelta(days=1)

_log = logging.getLogger("cooperative_upload")


class Sweeper:
    """One round after the other."""

    def __init__(
        self,
        storage: Storage,
        registry: Registry,
        leases: Leases,
        finishing: Finishing,
        outbox: Outbox,
        settings: UploadSettings,
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._leases = leases
        self._finishing = finishing
        self._outbox = outbox
        self._settings = settings
        self._rounds = 0

    def round_if_on_duty(self) -> None:
        """A round, unless another process does them."""
        if self._registry.take_duty("sweep", self._leases.mine, self._leases.is_gone):
            if self._rounds % _ORPHANS_EVERY == 0:
                self.remove_orphans(_ORPHANS_AFTER)
            self._rounds += 1
            self.round()

    def round(self) -> None:
        """Remove what has expired, finish what was left behind, deliver what is due."""
        now = time.time()

        def expire(upload: Upload) -> None:
            self._remove(self._registry.change(upload.id, lambda one: expired_at(one, now)))

        self._for_each(lambda most: self._registry.expired(now, most), expire)
        self._for_each(self._registry.unfinished, self._finish)
        self._outbox.deliver()
        for process in self._registry.processes():
            if self._leases.is_gone(process):
                self._registry.forget_process(process)

    def remove(self, upload: Upload) -> None:
        """Take an upload away, with its bytes and its parts. Again is harmless."""
        self._remove(self._registry.change(upload.id, made_expired))

    def _remove(self, gone: Upload) -> None:
        if gone.state is not State.EXPIRED:
            return
        self._leases.interrupt(gone.id)
        for part in gone.parts:
            self._remove_part(part)
        take_bytes_away(self._storage, gone)
        self._registry.remove(gone)

    def remove_orphans(self, older_than: datetime.timedelta) -> None:
        """End the writings that no upload knows of, since their creation was cut in its middle."""
        for token in self._storage.leftovers(older_than):
            if not self._registry.knows_key(token["key"]):
                _log.info("a writing that no upload has was ended: %s", token["key"])
                self._storage.abort(token)

    def _remove_part(self, id: str) -> None:
        with contextlib.suppress(NoSuchUpload):
            self.remove(self._registry.look_up(id))

    def _finish(self, upload: Upload) -> None:
        self._finishing.finish(upload.id)

    def _for_each(
        self, some: Callable[[int], list[Upload]], do: Callable[[Upload], object]
    ) -> None:
        seen: set[str] = set()
        while True:
            uploads = [upload for upload in some(_AT_ONCE + len(seen)) if upload.id not in seen]
            if not uploads:
                return
            for upload in uploads:
                seen.add(upload.id)
                try:
                    do(upload)
                except UploadRefusal:
                    pass  # somebody else is at it, or was
                except RequestError as error:
                    _log.warning("the sweeper leaves upload %s for later: %s", upload.id, error)
