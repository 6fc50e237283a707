"""Who runs, and who writes: the turns of a hub, its writing threads, and who holds its loop.

Every folder that works on bodies or waits for the disk imports from here; this one from
monitoring alone.
"""

from .last_use import ClosedByLastUse, run_in_steps
from .loop_probe import watch_loop
from .places import Places
from .scheduler import Scheduler, SchedulerStatistics, current_scheduler, scheduler_of
from .writer import Job, current_caller, current_clerks, current_hasher, current_writer

__all__ = [
    "ClosedByLastUse",
    "Job",
    "Places",
    "Scheduler",
    "SchedulerStatistics",
    "current_caller",
    "current_clerks",
    "current_hasher",
    "current_scheduler",
    "current_writer",
    "run_in_steps",
    "scheduler_of",
    "watch_loop",
]
