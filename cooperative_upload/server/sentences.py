"""What went wrong, as one sentence, and the exit status that tells a script which kind it is."""

from __future__ import annotations

import re
import signal

from ..errors import (
    AlreadyStored,
    NotStored,
    StorageError,
    StorageRefused,
    UnsafePath,
    UploadError,
)
from .destinations import NoDestination
from .interrupting import Interrupted
from .local_files import LocalFault

_OPERATION = re.compile(r"^[a-z_]+: ")

FAILED = 1  # it may go well another time
USAGE = 2  # argparse's, click's and bash's own
REFUSED = 3  # the storage takes nothing from us as it is set up: no such bucket, no right
EXISTS = 4  # and may not be replaced

# Others are faults of this program, of which the traceback is to be seen.
EXPECTED = (UploadError, LocalFault, NoDestination, NotImplementedError)


def status_of(error: BaseException) -> int:
    """The exit status of a command that ended with this error."""
    if isinstance(error, Interrupted):
        return 128 + error.number
    if isinstance(error, AlreadyStored):
        return EXISTS
    if isinstance(error, (StorageRefused, NotImplementedError)):
        return REFUSED
    return USAGE if isinstance(error, (NoDestination, UnsafePath, ValueError)) else FAILED


def sentence_of(error: BaseException, url: str) -> str:
    """What to tell the person at the terminal about an error with that destination."""
    if isinstance(error, Interrupted):
        return f"stopped by {signal.Signals(error.number).name}."
    if isinstance(error, AlreadyStored):
        return f"{url} is there already: --overwrite replaces it."
    if isinstance(error, NotStored):
        return f"{url} is not there."
    if isinstance(error, StorageError):
        # What was called is for the log of a server.
        said = _OPERATION.sub("", error.strerror or "the storage does not work")
        return f"{url}: {said.rstrip('.')}."
    return str(getattr(error, "description", None) or error)
