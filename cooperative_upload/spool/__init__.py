"""Files: the temporary one that a part is written to, and the ways in which content is saved.

All that may block is done by the writing threads of turns. Forms and exchanges import from here.
"""

from .request_spools import RequestSpools
from .target import spool_beside
from .temporary_file import Spool, spools_closed_at_the_end

__all__ = [
    "RequestSpools",
    "Spool",
    "spool_beside",
    "spools_closed_at_the_end",
]
