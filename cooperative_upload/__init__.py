"""Large uploads on gunicorn and gevent that starve nobody.

Worker                 `gunicorn -k cooperative_upload.Worker`: nothing in the application changes
CooperativeInput       the wsgi.input of that worker, for use around any other
Spool                  the temporary file that werkzeug's form parser writes file parts to
UploadSettings         all settings, with their units, defaults and reasons
UploadError, BodyError, IncompleteBody, MalformedBody, SettingsError
                       what can go wrong, by who is at fault
current_scheduler      the turns of the current hub, and their statistics()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .body import CooperativeInput
from .errors import BodyError, IncompleteBody, MalformedBody, SettingsError, UploadError
from .scheduler import SchedulerStatistics, current_scheduler
from .settings import UploadSettings
from .spool import Spool

if TYPE_CHECKING:
    from .worker import Worker

__all__ = [
    "BodyError",
    "CooperativeInput",
    "IncompleteBody",
    "MalformedBody",
    "SchedulerStatistics",
    "SettingsError",
    "Spool",
    "UploadError",
    "UploadSettings",
    "Worker",
    "current_scheduler",
]


def __getattr__(name: str) -> Any:
    # Loaded on demand: the wrapper has to work where gunicorn is not installed.
    if name == "Worker":
        from .worker import Worker

        return Worker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
