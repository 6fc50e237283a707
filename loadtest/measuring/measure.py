"""One measurement: a server, probes beside N uploads, and what both and the server report.

    probes    |--lead--|------------- window -------------|--drain--|
    uploads            |------------------------------|

The probes begin first and end last, so that the window (the first upload's start to the last one's
end) is covered whole. The idle server is measured the same way, for a fixed time, without uploads.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import multiprocessing.connection
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from loadtest.clients import crew, probes, uploads
from loadtest.errors import LoadTestError
from loadtest.interrupts import held
from loadtest.measuring.resources import Watch, machine_cpu_seconds
from loadtest.measuring.statistics import Cost, Measurement, latency_of
from loadtest.servers.processes import ServerProcess

R = TypeVar("R")

LEAD = 0.5  # seconds of probes before the first upload
TICK = 0.1  # seconds between two looks at the server
PATIENCE = 10.0  # seconds that a process may be over its own bound
AGREE = 0.2  # seconds that the processes get to hear when to begin


@dataclass(frozen=True)
class Load:
    """A process that sends bodies: what it does, as half a sentence, its task and its job.

    A job has `seconds`, which bound how long its task takes.
    """

    doing: str
    task: Callable[[Any, crew.Station], uploads.UploadResult]
    job: Any

    @property
    def seconds(self) -> float:
        return float(self.job.seconds)


@dataclass(frozen=True)
class Trial:
    """What is done to one server. `load` is None for the idle server.

    `clients` and `noun` say what the results are filed under: `8` and `upload`.
    """

    server: str
    probe: probes.ProbeJob
    load: Load | None
    idle_seconds: float
    clients: int
    noun: str

    @property
    def seconds(self) -> float:
        """How long it may take at most, by the bounds of its two processes."""
        return (self.load.seconds if self.load else self.idle_seconds) + self.probe.drain


@dataclass(frozen=True)
class State:
    """How far a measurement is, for the person who waits."""

    elapsed: float
    sent: int
    uploads_done: int
    mb_per_s: float
    worst: float
    errors: int


def measure(
    trial: Trial, processes: Sequence[ServerProcess], report: Callable[[State], None]
) -> Measurement:
    """Run `trial` against a server that is ready; `processes` is empty if it is not ours."""
    with contextlib.ExitStack() as stack:
        uploader = None
        with held():
            prober = stack.enter_context(crew.Member("probes", probes.run, trial.probe))
            if load := trial.load:
                uploader = stack.enter_context(crew.Member(load.doing, load.task, load.job))
        if uploader:
            uploader.wait_ready()
        prober.wait_ready()
        return _Run(trial, processes, prober, uploader, report).run()


class _Run:
    def __init__(
        self,
        trial: Trial,
        processes: Sequence[ServerProcess],
        prober: crew.Member[probes.ProbeResult],
        uploader: crew.Member[uploads.UploadResult] | None,
        report: Callable[[State], None],
    ) -> None:
        self._trial = trial
        self._processes = processes
        self._watch = Watch([process.pid for process in processes]) if processes else None
        self._prober, self._uploader = prober, uploader
        self._members: list[crew.Member[Any]] = [prober, uploader] if uploader else [prober]
        self._report = report
        self._start = 0.0
        self._next_look = 0.0
        self._probing = probes.ProbeProgress(0.0, 0, 0)
        self._uploading = uploads.UploadProgress(0, 0)
        self._speed = Speed()

    def run(self) -> Measurement:
        self._start = time.perf_counter() + AGREE
        begin = self._start + LEAD
        idle_memory = self._watch.sample() if self._watch else 0
        cpu, machine = self._cpu_seconds(), machine_cpu_seconds()
        self._prober.go(self._start)
        uploaded = NO_UPLOADS
        if self._uploader:
            self._uploader.go(begin)
            uploaded = self._wait_for(self._uploader)
        else:
            self._wait_until(begin + self._trial.idle_seconds)
        end = time.perf_counter()
        cpu, machine = self._cpu_seconds() - cpu, machine_cpu_seconds() - machine
        self._prober.stop(end)
        probed = self._wait_for(self._prober)
        window = (
            min((upload.start for upload in uploaded.uploads), default=begin),
            max((upload.end for upload in uploaded.uploads), default=end),
        )
        elapsed = max(end - self._start, 1e-9)
        foreign = machine - cpu - uploaded.cpu_seconds - probed.cpu_seconds
        return Measurement(
            server=self._trial.server,
            clients=self._trial.clients,
            probes=tuple(_probe_since(self._start, probe) for probe in probed.probes),
            uploads=tuple(_upload_since(self._start, upload) for upload in uploaded.uploads),
            window=(window[0] - self._start, window[1] - self._start),
            cost=Cost(cpu, idle_memory, self._watch.peak_memory) if self._watch else None,
            client_load=uploaded.cpu_seconds / max(window[1] - window[0], 1e-9),
            foreign_load=max(0.0, foreign / elapsed),
            late=latency_of(probed.lateness).p99,
            noun=self._trial.noun,
            client_late=uploaded.late,
            workers_lost=self._watch.ended if self._watch else 0,
        )

    def _cpu_seconds(self) -> float:
        if self._watch is None:
            return 0.0
        self._watch.sample()
        return self._watch.cpu_seconds()

    def _wait_for(self, member: crew.Member[R]) -> R:
        """Listen to all processes until this one has its result."""
        patience = self._start + LEAD + self._trial.seconds + PATIENCE
        while time.perf_counter() < patience:
            for message in self._messages(member):
                if isinstance(message, crew.Result):
                    result: R = message.value
                    return result
            self._look()
        raise LoadTestError(f"The process that {member.name} did not come to its end.")

    def _wait_until(self, at: float) -> None:
        while time.perf_counter() < at:
            for _ in self._messages(self._prober):
                pass
            self._look()

    def _messages(self, member: crew.Member[Any]) -> Iterator[crew.Message]:
        """What has arrived from `member`; the progress of both processes is noted on the way."""
        pipes = [each.pipe for each in self._members]
        ready = multiprocessing.connection.wait(pipes, timeout=TICK)
        for each in self._members:
            if each.pipe not in ready:
                continue
            message = each.take()
            if isinstance(message, crew.Progress):
                self._note(message.value)
            if isinstance(message, crew.Result):
                self._members = [other for other in self._members if other is not each]
            if each is member:
                yield message

    def _note(self, progress: probes.ProbeProgress | uploads.UploadProgress) -> None:
        if isinstance(progress, probes.ProbeProgress):
            self._probing = progress
        else:
            self._uploading = progress

    def _look(self) -> None:
        """Every tick: is the server alive, what does it use, what do we say."""
        now = time.perf_counter()
        if now < self._next_look:
            return
        self._next_look = now + TICK
        for process in self._processes:
            process.check()
        if self._watch:
            self._watch.sample()
        self._report(
            State(
                elapsed=max(0.0, now - self._start),
                sent=self._uploading.sent,
                uploads_done=self._uploading.done,
                mb_per_s=self._speed.update(now, self._uploading.sent),
                worst=self._probing.worst,
                errors=self._probing.errors,
            )
        )


class Speed:
    """MB/s over the last second or so, from a counter read now and then."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._readings: collections.deque[tuple[float, int]] = collections.deque()

    def update(self, now: float, count: int) -> float:
        self._readings.append((now, count))
        while len(self._readings) > 2 and self._readings[1][0] <= now - self._seconds:
            self._readings.popleft()
        then, before = self._readings[0]
        return (count - before) / 1e6 / (now - then) if now > then else 0.0


NO_UPLOADS = uploads.UploadResult((), 0.0)


def _probe_since(start: float, probe: probes.Probe) -> probes.Probe:
    return dataclasses.replace(
        probe, due=probe.due - start, sent=probe.sent - start, end=probe.end - start
    )


def _upload_since(start: float, upload: uploads.Upload) -> uploads.Upload:
    return dataclasses.replace(upload, start=upload.start - start, end=upload.end - start)
