"""Large uploads on gunicorn and gevent that starve nobody.

Worker                 `gunicorn -k cooperative_upload.Worker`: nothing in the application changes
CooperativeInput       the wsgi.input of that worker, for use around any other
Spool                  the temporary file that werkzeug's form parser writes file parts to
UploadSettings         all settings, with their units, defaults and reasons
UploadError            base of all that can go wrong, by who is at fault:
    BodyError          the client: IncompleteBody, MalformedBody, BodyTimeout, BodyTooSlow,
                       BodyTooLarge
    StorageError, TooManyUploads, WorkerEnding
                       the server
    SettingsError      the operator
upload_statistics      how the bodies of this process ended, in numbers
current_scheduler      the turns of the current hub, and their statistics()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .body import CooperativeInput
from .errors import (
    BodyError,
    BodyTimeout,
    BodyTooLarge,
    BodyTooSlow,
    IncompleteBody,
    MalformedBody,
    SettingsError,
    StorageError,
    TooManyUploads,
    UploadError,
    WorkerEnding,
)
from .monitor import upload_statistics
from .scheduler import SchedulerStatistics, current_scheduler
from .settings import UploadSettings
from .spool import Spool

if TYPE_CHECKING:
    from .worker import Worker

__all__ = [
    "BodyError",
    "BodyTimeout",
    "BodyTooLarge",
    "BodyTooSlow",
    "CooperativeInput",
    "IncompleteBody",
    "MalformedBody",
    "SchedulerStatistics",
    "SettingsError",
    "Spool",
    "StorageError",
    "TooManyUploads",
    "UploadError",
    "UploadSettings",
    "Worker",
    "WorkerEnding",
    "current_scheduler",
    "upload_statistics",
]


def __getattr__(name: str) -> Any:
    # Loaded on demand: the wrapper has to work where gunicorn is not installed.
    if name == "Worker":
        from .worker import Worker

        return Worker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
