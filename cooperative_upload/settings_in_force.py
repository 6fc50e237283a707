"""Which settings hold for who gives none: one answer for the whole package.

Those of the request, where the wrapper or the Flask extension that runs it has settings of its
own; else those of the process. A process has the settings of its worker, or, under a worker that
is not ours, those that its environment gives.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from .context_scope import ContextScope
from .settings import UploadSettings

_of_request: ContextScope[UploadSettings] = ContextScope("settings")
_of_process: UploadSettings | None = None


def settings_in_force() -> UploadSettings:
    """Those for who was given none. Raises SettingsError for a wrong environment."""
    return _of_request.get() or settings_of_process()


def settings_of_request() -> UploadSettings | None:
    """Those of the request that runs in this context; None if it has none of its own."""
    return _of_request.get()


def settings_of_process() -> UploadSettings:
    """Those of this process; the environment is read once."""
    global _of_process
    if _of_process is None:
        _of_process = UploadSettings.from_environment(os.environ)
    return _of_process


def holding_for_process(settings: UploadSettings) -> None:
    """From now on these hold in this process and in those that it forks."""
    global _of_process
    _of_process = settings


def holding_for_request(settings: UploadSettings) -> contextlib.AbstractContextManager[None]:
    """These hold for what the current context does in the block."""
    return _of_request.holding(settings)


class LayeredSettings:
    """Settings over those of the process and below the environment.

    given: by the names of UploadSettings. Raises SettingsError for one that is unknown or makes
        no sense.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = dict(given)
        self._below: UploadSettings | None = None
        self.current()

    def current(self) -> UploadSettings:
        """The settings. An application that is loaded before the fork is older than its worker."""
        below = settings_of_process()
        if below is not self._below:
            attributes = {**dataclasses.asdict(below), **self._given}
            self._settings = UploadSettings.from_environment(os.environ, attributes)
            self._below = below
        return self._settings
