"""Who works on an upload: taking over, stopping, and telling who is gone.

A lease is a generation in the upload's row, with the name of the process that took it. Nothing
renews or ends it in time: who comes new takes a new generation, and the old holder's next commit
finds that it is none any more. So no clock decides, and one that is set back changes nothing.

To take over needs no consent. An old holder is told all the same, since it mostly hangs on a
connection that is dead without knowing it: in the same process by an exception in its greenlet
while that waits for its client, and in another one by `stop_requested` in the row, which each
process looks at while it holds anything.

Whether a process is gone matters only where it would have to be waited for. On the same machine
the kernel says it (processes.py). One on another machine is gone when it has not counted its beats
up for `upload_lease_seconds` of the observer's own clock, which does not jump.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from gevent import getcurrent

from ..hub import current_hub
from ..settings import UploadSettings
from .processes import is_gone, name_of_process
from .record import State, Upload, let_go
from .refusals import Superseded
from .registry import Registry
from .waiting import sleep, start, wait_until

# Seconds that whoever asks a holder to stop waits for it, at the most.
_STOPS_WITHIN = 1.0

# Seconds between two looks at what others ask for.
_LOOK_EVERY = 0.2

# Seconds between two beats.
_BEAT_EVERY = 3.0


class Holding:
    """A request's hold on an upload.

    superseded: whether somebody newer has it, so that nothing can be committed any more.
    """

    def __init__(self, upload: Upload, leases: Leases) -> None:
        self.id = upload.id
        self.generation = upload.generation
        self.superseded = False
        self._leases = leases
        self._stopping = False
        self._hub = current_hub()
        self._greenlet: Any = None  # while it waits for its client

    def receive(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """The blocks, until there are no more or this one has to stop: then Superseded."""
        while True:
            if self._hub is None:
                self._leases.look()
            if self._stopping:
                raise Superseded()
            self._greenlet = getcurrent()
            try:
                block = next(blocks, None)
            finally:
                self._greenlet = None
            if block is None:
                return
            yield block

    def stop(self, *, superseded: bool) -> None:
        """Have it stop, from any greenlet."""
        self.superseded = self.superseded or superseded
        if self._stopping:
            return
        self._stopping = True
        if self._hub is not None:
            # Not here and now, for then who asks would go on when the other has ended.
            self._hub.loop.run_callback_threadsafe(self._break_off)

    def _break_off(self) -> None:
        if self._greenlet is not None:
            self._greenlet.throw(Superseded())


class Leases:
    """What this process holds, and what it knows of other processes."""

    def __init__(self, registry: Registry, settings: UploadSettings) -> None:
        self._registry = registry
        self._settings = settings
        self._held: dict[str, Holding] = {}
        self._watched = False
        self._looked = 0.0
        self._beaten = -_BEAT_EVERY
        self._beats_of: dict[str, tuple[int | None, float]] = {}

    @property
    def mine(self) -> str:
        """By which name this process holds. It has a sign of life before it holds anything."""
        self._beat()
        return name_of_process()

    @contextlib.contextmanager
    def held(self, upload: Upload) -> Iterator[Holding]:
        """While the block runs, others can have this process stop. Ends who held it here."""
        earlier = self._held.get(upload.id)
        holding = self._held[upload.id] = Holding(upload, self)
        if earlier is not None:
            earlier.stop(superseded=True)
        self._watch()
        try:
            yield holding
        finally:
            if self._held.get(upload.id) is holding:
                del self._held[upload.id]

    def interrupt(self, id: str) -> None:
        """End who holds it here: it is no longer theirs."""
        holding = self._held.get(id)
        if holding is not None:
            holding.stop(superseded=True)

    def settle(self, upload: Upload) -> Upload:
        """The upload after whoever writes to it has committed what it had, if it does so soon."""
        if upload.state is not State.OPEN:
            return upload
        here = self._held.get(upload.id)
        if here is not None:
            here.stop(superseded=False)
            wait_until(lambda: self._held.get(upload.id) is not here, _STOPS_WITHIN)
            return self._registry.find(upload.id)
        if upload.holder is None:
            return upload
        if upload.holder == name_of_process() or self.is_gone(upload.holder):
            return self._free(upload)
        return self._stop_elsewhere(upload)

    def is_gone(self, holder: str) -> bool:
        """Whether the process of that name has ended, as far as that can be known."""
        gone = is_gone(holder)
        return self._stands_still(holder) if gone is None else gone

    def look(self) -> None:
        """Tell those who hold what others ask of them."""
        if time.monotonic() - self._looked < _LOOK_EVERY:
            return
        self._looked = time.monotonic()
        self._beat()
        asked = list(self._held.values())  # those who come meanwhile are not in the answer
        now = self._registry.held([holding.id for holding in asked])
        for holding in asked:
            generation, stop = now.get(holding.id, (None, False))
            if generation != holding.generation:
                holding.stop(superseded=True)
            elif stop:
                holding.stop(superseded=False)

    def _free(self, upload: Upload) -> Upload:
        """Held by nobody, if it is still as it was seen."""

        def step(now: Upload) -> Upload:
            return let_go(now) if now.generation == upload.generation else now

        return self._registry.change(upload.id, step, durable=False)

    def _stop_elsewhere(self, upload: Upload) -> Upload:
        def step(now: Upload) -> Upload:
            return replace(now, stop_requested=now.holder == upload.holder)

        self._registry.change(upload.id, step, durable=False)
        give_up = time.monotonic() + _STOPS_WITHIN
        while True:
            now = self._registry.find(upload.id)
            let_go_of = now.holder is None or now.generation != upload.generation
            if let_go_of or time.monotonic() > give_up:
                return now
            sleep(_LOOK_EVERY / 4)

    def _watch(self) -> None:
        if not self._watched and current_hub() is not None:
            self._watched = True
            start(self._look_while_holding)

    def _look_while_holding(self) -> None:
        try:
            while self._held:
                with contextlib.suppress(Exception):  # told by those who need the database
                    self.look()
                sleep(_LOOK_EVERY)
        finally:
            self._watched = False

    def _beat(self) -> None:
        if time.monotonic() - self._beaten > _BEAT_EVERY:
            self._beaten = time.monotonic()  # before: others need not do it while it is waited for
            self._registry.beat(name_of_process())

    def _stands_still(self, holder: str) -> bool:
        beats, now = self._registry.beats_of(holder), time.monotonic()
        if beats is None:
            return True
        before, since = self._beats_of.get(holder, (None, now))
        if before != beats:
            self._beats_of[holder] = (beats, now)
            return False
        return now - since > self._settings.upload_lease_seconds
