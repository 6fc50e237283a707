"""Finishing: from all bytes durable to ready, or to refused. Once begun it needs no client.

It runs in a greenlet of its own, one for each upload in all processes, so that it goes on when
the request that brought the last byte has gone. Every step may be taken again: a worker that is
killed in the middle leaves `checking` with a holder that is gone, and whoever comes next, a client
or the sweeper, begins again.

The content is put into its place first and checked there, since a storage reads only what was
committed. Nothing announces it before it is ready; refused content is deleted.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping

from ..errors import AlreadyStored, NotStored
from ..forms import Hashing
from ..settings import UploadSettings
from ..storage import Content, Storage, Stored
from .content import opened
from .hooks import Hooks
from .leases import Leases
from .receiving import HEAD_BYTES
from .record import (
    State,
    Upload,
    checking,
    fell_back,
    made_expired,
    made_ready,
    made_refused,
    without_bytes,
)
from .refusals import NoSuchUpload, NotReadyYet, RefusedUpload, Superseded, UploadRefusal
from .registry import Registry
from .removal import take_bytes_away
from .waiting import start, wait_until

_log = logging.getLogger("cooperative_upload")


class _Run:
    """The finishing of one upload by this process."""

    def __init__(self) -> None:
        self.upload: Upload | None = None
        self.error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.upload is not None or self.error is not None


class Finishing:
    """Makes uploads ready.

    told: called when one has become so, to tell the application.
    """

    def __init__(
        self,
        storage: Storage,
        registry: Registry,
        leases: Leases,
        hooks: Hooks,
        settings: UploadSettings,
        told: Callable[[], object],
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._leases = leases
        self._hooks = hooks
        self._settings = settings
        self._told = told
        self._runs: dict[str, _Run] = {}

    def finish(self, id: str) -> Upload:
        """The upload when it is ready.

        Raises RefusedUpload; WrongOffset where bytes are missing; NotReadyYet where it takes
        longer than a client waits; and what the storage raises: whoever asks next tries again.
        """
        run = self.begin(id)
        wait_until(lambda: run.done, self._settings.upload_check_wait_seconds)
        if run.error is not None:
            raise run.error
        if run.upload is None:
            raise NotReadyYet()
        return run.upload

    def begin(self, id: str) -> _Run:
        """See to it that the upload is being finished, beside what else is done."""
        run = self._runs.get(id)
        if run is None:
            run = self._runs[id] = _Run()
            start(self._run, id, run)
        return run

    def refuse(self, upload: Upload, status: int, detail: str, generation: int | None) -> Upload:
        """Refuse it, and drop its bytes. Who died between the two has left that to the sweeper.

        generation: of who found it wanting; None where that needs no hold on it.
        """
        expires = time.time() + self._settings.upload_expire_seconds

        def step(now: Upload) -> Upload:
            if generation is not None and now.generation != generation:
                raise Superseded()
            return made_refused(now, status, detail, expires)

        refused = self._registry.change(upload.id, step)
        if refused.state is not State.REFUSED:
            return refused
        take_bytes_away(self._storage, refused)
        for part in refused.parts:
            self._leave_to_the_sweeper(part)
        return self._registry.change(upload.id, without_bytes)

    def _leave_to_the_sweeper(self, part: str) -> None:
        with contextlib.suppress(NoSuchUpload):
            self._registry.change(part, made_expired)

    def _run(self, id: str, run: _Run) -> None:
        try:
            upload = self._take(id)
            run.upload = upload if upload.ready else self._make_ready(upload)
        except UploadRefusal as refusal:
            run.error = refusal
        except Exception as error:
            _log.warning("upload %s could not be finished: %s", id, error)
            run.error = error
        except BaseException as error:
            run.error = error
            raise
        finally:
            del self._runs[id]

    def _take(self, id: str) -> Upload:
        mine = self._leases.mine
        may_hold = {None, mine}
        seen = self._registry.find(id)
        if seen.state is State.CHECKING and seen.holder not in may_hold:
            if not self._leases.is_gone(str(seen.holder)):
                raise NotReadyYet()
            may_hold.add(seen.holder)

        def step(upload: Upload) -> Upload:
            if upload.state is State.CHECKING and upload.holder not in may_hold:
                raise NotReadyYet()
            return checking(upload, mine)

        return self._registry.change(id, step, durable=False)

    def _make_ready(self, upload: Upload) -> Upload:
        try:
            with self._leases.held(upload):
                self._check(upload, self._put_in_place(upload))
                ready = self._registry.change(
                    upload.id, lambda now: made_ready(now, upload.generation)
                )
        except RefusedUpload as refusal:
            self.refuse(upload, refusal.code or 422, str(refusal.description), upload.generation)
            raise
        except Superseded:
            raise
        except BaseException:
            self._registry.change(upload.id, lambda now: fell_back(now, upload.generation))
            raise
        self._told()
        return ready

    def _put_in_place(self, upload: Upload) -> Stored | None:
        if upload.token is None:
            return None
        try:
            return self._storage.commit(upload.token, upload.size or 0)
        except AlreadyStored as error:
            raise RefusedUpload(str(error.description), 409) from error
        except NotStored as error:
            raise RefusedUpload("The storage has lost what was uploaded.", 410) from error

    def _check(self, upload: Upload, stored: Stored | None) -> None:
        self._check_digests(upload, {} if stored is None else stored.digests)
        if self._hooks.first_bytes is not None and upload.parts:  # nobody has looked at them yet
            with self._content(upload) as content:
                self._hooks.first_bytes(upload, content.read(HEAD_BYTES))
        if self._hooks.received is not None and not upload.partial:
            self._hooks.received(upload, lambda: self._content(upload))

    def _check_digests(self, upload: Upload, found: Mapping[str, bytes]) -> None:
        unknown = [name for name in upload.digests if name not in found]
        if unknown:
            hashing = Hashing(unknown, self._settings)
            with self._content(upload) as content:
                for block in content.blocks():
                    hashing.update(block)
            found = {**found, **hashing.finished().values()}
        for name, wanted in upload.digests.items():
            if found[name] != wanted:
                raise RefusedUpload(
                    f"The upload is not what was announced: its {name} digest is "
                    f"{found[name].hex()}, announced was {wanted.hex()}.",
                    400,
                )

    def _content(self, upload: Upload) -> Content:
        return opened(self._storage, self._registry.find, upload)
