"""Large uploads on gunicorn and gevent that starve nobody.

Worker                 `gunicorn -k cooperative_upload.Worker`: nothing in the application changes
CooperativeUploadMiddleware
                       the wrapper, for applications on another gevent server
flask_ext.CooperativeUpload
                       the same as a Flask extension
receive, stream_parts  bodies and parts of forms as they come, stored whole or not at all
save_to                the same for a file of a form that was parsed already
path_below             the names that clients give, as paths that stay in their directory
CooperativeInput       the wsgi.input of them all
Spool                  the temporary file that werkzeug's form parser writes file parts to
UploadSettings         all settings, with their units, defaults and reasons
UploadError            base of all that can go wrong, by who is at fault:
    BodyError          the client: IncompleteBody, MalformedBody, BodyTimeout, BodyTooSlow,
                       BodyTooLarge, PartHeadersTooLarge, DigestMismatch; and PartialBody,
                       UnsafePath
    StorageError, TooManyUploads, WorkerEnding
                       the server
    SettingsError      the operator
    BodyAlreadyRead    the application
upload_statistics      how the bodies of this process ended, in numbers
overview               the same of all workers, with the uploads in progress and the loops' lag
prometheus.UploadCollector
                       the same for Prometheus
StatusPage             these numbers as a page to watch, and as JSON, for a mount of your own
UploadProgress         how far an upload is, for its own user: a WSGI application to mount
share_statistics       has the workers of another server count together, too
current_scheduler      the turns of the current hub, and their statistics()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .body import CooperativeInput
from .errors import (
    BodyAlreadyRead,
    BodyError,
    BodyTimeout,
    BodyTooLarge,
    BodyTooSlow,
    DigestMismatch,
    IncompleteBody,
    MalformedBody,
    PartHeadersTooLarge,
    PartialBody,
    SettingsError,
    StorageError,
    TooManyUploads,
    UnsafePath,
    UploadError,
    WorkerEnding,
)
from .forms import Part, Received, path_below, receive, save_to, stream_parts
from .middleware import CooperativeUploadMiddleware
from .monitoring import StatusPage, UploadProgress, overview, share_statistics, upload_statistics
from .settings import UploadSettings
from .spool import Spool
from .turns import SchedulerStatistics, current_scheduler

if TYPE_CHECKING:
    from .worker import Worker as Worker

# Without Worker: `import *` has to work where gunicorn is not installed.
__all__ = [
    "BodyAlreadyRead",
    "BodyError",
    "BodyTimeout",
    "BodyTooLarge",
    "BodyTooSlow",
    "CooperativeInput",
    "CooperativeUploadMiddleware",
    "DigestMismatch",
    "IncompleteBody",
    "MalformedBody",
    "Part",
    "PartHeadersTooLarge",
    "PartialBody",
    "Received",
    "SchedulerStatistics",
    "SettingsError",
    "Spool",
    "StatusPage",
    "StorageError",
    "TooManyUploads",
    "UnsafePath",
    "UploadError",
    "UploadProgress",
    "UploadSettings",
    "WorkerEnding",
    "current_scheduler",
    "overview",
    "path_below",
    "receive",
    "save_to",
    "share_statistics",
    "stream_parts",
    "upload_statistics",
]


def __getattr__(name: str) -> Any:
    # Loaded on demand: the wrapper has to work where gunicorn is not installed.
    if name == "Worker":
        from .worker import Worker

        return Worker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
