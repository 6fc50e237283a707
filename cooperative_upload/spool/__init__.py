"""Files: the temporary one that a part is written to, and the ways in which content is saved.

All that may block is done by the writing threads of turns. Forms, exchanges and storages import
from here.
"""

from .batches import Batches
from .budgets import Budget
from .disk_file import DiskFile
from .file_access import is_alike, take_over_access
from .file_content import copied, write_all
from .request_spools import RequestSpools, close_with_request, file_of_worker, worker_budgets
from .saving import Fill, Saving, fsync_directory
from .target import spool_beside
from .temporary_file import Spool, spools_closed_at_the_end
from .unnamed_file import create_named, link_unnamed, open_unnamed

__all__ = [
    "Batches",
    "Budget",
    "DiskFile",
    "Fill",
    "RequestSpools",
    "Saving",
    "Spool",
    "close_with_request",
    "copied",
    "create_named",
    "file_of_worker",
    "fsync_directory",
    "is_alike",
    "link_unnamed",
    "open_unnamed",
    "spool_beside",
    "spools_closed_at_the_end",
    "take_over_access",
    "worker_budgets",
    "write_all",
]
