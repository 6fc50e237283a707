"""What a service does beside the requests: it sweeps, and tells the application what is due."""

from __future__ import annotations

import logging
import os
from typing import Any

from ..hub import current_hub
from ..settings import UploadSettings
from .outbox import Outbox
from .refusals import OutOfReach
from .sweeper import Sweeper
from .waiting import sleep, start

_log = logging.getLogger("cooperative_upload")


class Background:
    """A greenlet of each process that serves uploads; it begins with the first of them.

    Without a hub there is none, and a command has to sweep (UploadService.sweep).
    """

    def __init__(self, sweeper: Sweeper, outbox: Outbox, settings: UploadSettings) -> None:
        self._sweeper = sweeper
        self._outbox = outbox
        self._settings = settings
        self._process = 0
        self._greenlet: Any = None
        self._waits = False

    def run(self) -> None:
        """Begin, unless it runs in this process already."""
        wanted = self._settings.upload_sweep_seconds > 0 and current_hub() is not None
        if wanted and self._process != os.getpid():
            self._process = os.getpid()
            self._greenlet = start(self._run)

    def deliver(self) -> None:
        """Tell what has come about, beside the request that brought it about."""
        start(self._deliver)

    def stop(self) -> None:
        """End it; what it was doing is taken up by whoever has the duty next."""
        if self._greenlet is not None:
            self._greenlet.kill()
            self._greenlet = None

    def _run(self) -> None:
        while True:
            try:
                self._sweeper.round_if_on_duty()
            except OutOfReach as error:
                _log.warning("the sweeper waits: %s", error)
            except Exception:
                _log.exception("the sweeper failed, and goes on in its next round")
            sleep(self._settings.upload_sweep_seconds)

    def _deliver(self) -> None:
        try:
            pause = self._outbox.deliver()
            # One of them waits for what is due again.
            while pause is not None and not self._waits and current_hub() is not None:
                self._waits = True
                sleep(pause)
                self._waits = False
                pause = self._outbox.deliver()
        except OutOfReach as error:
            _log.warning("the application is told later: %s", error)
