"""What is known of uploads: counted in shared memory, told to whoever asks.

The ground floor of the folders: who receives, writes and answers counts here and asks nothing
of anybody, so that every other folder may import from this one, and it from none.

board is the shared memory and monitor counts in it; overview reads the sheets of all workers, for
the status page, Prometheus (whose package not everybody has: it is imported by name), statsd and
the progress of a client's own upload.
"""

from .access_log import add_atoms
from .board import LAG_BOUNDS, LAG_SECONDS, State, UploadRecord
from .monitor import (
    Upload,
    count,
    current_sheet,
    running_uploads,
    share_statistics,
    spending,
    upload_statistics,
)
from .overview import overview
from .progress import UploadProgress, end_streams
from .statsd import send_ended, telling_statsd
from .status_page import StatusPage, marked_as_uwsgi
from .upload_id import chosen_id

__all__ = [
    "LAG_BOUNDS",
    "LAG_SECONDS",
    "State",
    "StatusPage",
    "Upload",
    "UploadProgress",
    "UploadRecord",
    "add_atoms",
    "chosen_id",
    "count",
    "current_sheet",
    "end_streams",
    "marked_as_uwsgi",
    "overview",
    "running_uploads",
    "send_ended",
    "share_statistics",
    "spending",
    "telling_statsd",
    "upload_statistics",
]
