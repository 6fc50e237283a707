"""Clients that hold their connections and send nothing more, until they are told to go.

Each has sent its headers and the first part of a form. They count as stalled when the server has
accepted them all and has come to rest, and as gone when it has closed what it had opened for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from loadtest.clients import crew, uploads
from loadtest.clients.uploads import STOPPED, Upload, UploadJob, UploadProgress, UploadResult
from loadtest.errors import LoadTestError
from loadtest.interrupts import held
from loadtest.measuring.resources import Watch
from loadtest.servers.processes import ServerProcess

TICK = 0.1  # seconds between two looks
BOUND = 30.0  # seconds to connect and to send; 500 clients take less than one
RELEASE = 5.0  # seconds in which a server has to notice that its clients have gone
REST = 3  # ticks in which a server did next to nothing: it has read what there was
REST_CPU = 0.015  # seconds in a tick: one step of the clock, and no second one


class Group:
    """The stalled clients, and what became of them once they have gone."""

    def __init__(self) -> None:
        self.uploads: tuple[Upload, ...] = ()
        self.left_open = 0


@contextmanager
def clients(job: UploadJob, amount: int, processes: Sequence[ServerProcess]) -> Iterator[Group]:
    """The clients of `job`: each has sent `amount` bytes, and is gone when the context is left.

    `processes` is empty for a server that is not ours, of which only what was sent is known.
    """
    group = Group()
    watch = Watch([process.pid for process in processes]) if processes else None
    _wait_for_rest(watch)
    before = watch.descriptors() if watch else 0
    with ExitStack() as stack:
        with held():
            member = stack.enter_context(crew.Member("stalls", uploads.run, job))
        member.wait_ready()
        member.go(time.perf_counter())
        _wait_until_sent(member, job, amount)
        if watch and not _wait_for(lambda: watch.descriptors() >= before + job.clients, BOUND):
            raise LoadTestError(
                f"The server has not accepted the {job.clients} clients that stall within "
                f"{BOUND:.0f} s."
            )
        _wait_for_rest(watch)
        yield group
        group.uploads = _ended(member)
    if watch and not _wait_for(lambda: watch.descriptors() <= before, RELEASE):
        group.left_open = watch.descriptors() - before
    _wait_for_rest(watch)


def _wait_until_sent(member: crew.Member[UploadResult], job: UploadJob, amount: int) -> None:
    end, progress = time.perf_counter() + BOUND, UploadProgress(0, 0)
    while progress.sent < job.clients * amount:
        if member.pipe.poll(TICK):
            message = member.take()
            if isinstance(message, crew.Progress):
                progress = message.value
        if progress.done or time.perf_counter() > end:
            outcomes = [upload.outcome for upload in _ended(member)]
            why = next((each for each in outcomes if each != STOPPED), "not all was sent in time")
            raise LoadTestError(f"The {job.clients} clients that are to stall can't: {why}.")


def _ended(member: crew.Member[UploadResult]) -> tuple[Upload, ...]:
    """Tell the clients to go; what became of them."""
    with suppress(BrokenPipeError):  # they have all gone by themselves
        member.stop(time.perf_counter())
    while not isinstance(message := member.take(), crew.Result):
        pass
    ended: UploadResult = message.value
    return ended.uploads


def _wait_for_rest(watch: Watch | None) -> None:
    """Come back when the server is through with what it was sent, or with closing what was open.

    Of a server that is not ours nobody knows; it gets the same time.
    """
    quiet, used, end = 0, 0.0, time.perf_counter() + BOUND
    while quiet < REST and time.perf_counter() < end:
        time.sleep(TICK)
        if watch:
            watch.sample()
        now = watch.cpu_seconds() if watch else 0.0
        quiet = quiet + 1 if now - used < REST_CPU else 0
        used = now


def _wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true in time."""
    end = time.perf_counter() + seconds
    while not condition():
        if time.perf_counter() > end:
            return False
        time.sleep(TICK)
    return True
