"""Uploads that go to a store: as fast as boto3 alone, and small requests beside them.

The servers receive raw bodies and store each as an object. gevent's worker does it in the usual
way, by a temporary file and boto3's upload_fileobj. Before the servers boto3 uploads the same from
memory, in a process of its own and with as many parts in flight. What is stored is read back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from loadtest.clients import boto3_uploads, crew, uploads
from loadtest.clients.boto3_uploads import Boto3Job
from loadtest.clients.connection import Address
from loadtest.clients.uploads import CLIENT, UploadJob, UploadResult, make_bodies
from loadtest.errors import LoadTestError
from loadtest.interrupts import held
from loadtest.measuring import jobs
from loadtest.measuring.measure import Load
from loadtest.measuring.read_back import FileObjects, Objects, S3Objects, difference
from loadtest.measuring.relay import relay
from loadtest.measuring.session import Report, Session, Work, deploying
from loadtest.measuring.statistics import Measurement
from loadtest.measuring.stored import (
    FirstByte,
    Reference,
    StorageRow,
    make_storage_rows,
    reference,
    speed_of,
)
from loadtest.options import Option, number, value
from loadtest.reports import as_text
from loadtest.reports.findings import Findings, Grid
from loadtest.reports.metrics import Metric
from loadtest.reports.progress import Display
from loadtest.scenarios.contract import Scenario
from loadtest.servers.deployments import Deployer, Job
from loadtest.servers.stores import SEAWEEDFS, Destination, opened, parse_storage
from loadtest.settings import Settings
from loadtest.units import format_seconds, format_size

APPLICATION = "examples.storage_server:app"
NAIVE = {"gevent": "loadtest.servers.peers.naive_storage:app"}
WARM_UP = 16 * 1024**2  # bytes: an upload of several parts
PACE = "40MB/s"  # of the upload whose first byte is awaited: slower than any store
SCENE = (
    "Large files were uploaded to servers that store them elsewhere, and small requests were sent "
    "at a steady rate meanwhile. What counts is the speed in relation to that of boto3 alone, and "
    "how long the small requests had to wait."
)
HEADINGS = ("server", "uploads", "MB/s", "of boto3", "p50", "p99", "max", "p99/idle", "pings",
            "errors", "CPU s", "peak MiB", "MiB/upload")  # fmt: skip
FIRST = ("server", "first byte after", "of an upload of", "share")


@dataclass(frozen=True)
class StorageSettings(Settings):
    """Of a run with a store. `size` is that of one upload."""

    storage: str = SEAWEEDFS
    # Of the store, if it is neither started here nor where its kind usually is.
    endpoint: str | None = None
    # Parts in flight of boto3 alone: as many as the package has connections, and boto3 of itself.
    parts: int = 10
    # One turns to parts in flight, a loop full of them is what a busy server has.
    uploads: tuple[int, ...] = (8, 32)
    # Eight parts of boto3's.
    size: int | None = 64 * 1024**2
    body: str = "raw"
    upload_path: str | None = f"/objects/{CLIENT}"

    def own_rules(self) -> Iterable[tuple[object, str]]:
        return (
            (self.parts >= 1, "Of boto3 one part is in flight at least."),
            (self.body in ("raw", "chunked"), "What is stored is a bare body."),
            (not self.urls, "The servers are told where to store: they are started here."),
        )


@dataclass(frozen=True, kw_only=True)
class StorageMeasurement(Measurement):
    """`wrong` says of each object that is not what was sent how it differs."""

    wrong: tuple[str, ...] = ()

    def other_faults(self) -> list[str]:
        return [f"{what}." for what in dict.fromkeys(self.wrong)]

    def other_figures(self) -> dict[str, Any]:
        return {"wrong": list(self.wrong)}


@dataclass(frozen=True)
class StorageResults:
    """All that was measured."""

    settings: StorageSettings
    measurements: tuple[Measurement, ...]
    references: tuple[Reference, ...]
    first_bytes: tuple[FirstByte, ...]


def run(settings: StorageSettings, console: Console) -> Findings:
    settings.validate()
    with Display(console) as display, _opened(settings) as (place, objects):
        results = _Run(settings, place, objects, display.show).run()
    return findings(results)


@contextmanager
def _opened(settings: StorageSettings) -> Iterator[tuple[Destination, Objects | None]]:
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="loadtest-store-")))
        place = stack.enter_context(opened(settings.storage, settings.endpoint, scratch))
        if place.scheme == "s3":
            objects = S3Objects(place.url, place.environment)
            objects.make_bucket()
            yield place, objects
            return
        yield place, FileObjects(place.url) if place.scheme == "file" else None


class _Run:
    def __init__(
        self,
        settings: StorageSettings,
        place: Destination,
        objects: Objects | None,
        report: Report,
    ) -> None:
        self._settings, self._place, self._objects = settings, place, objects
        self._report = report
        self._size = settings.size or WARM_UP
        self._references: list[Reference] = []

    def run(self) -> StorageResults:
        measurements = []
        with deploying(self._settings, job(self._place)) as deployer:
            session = Session(self._settings, deployer, self._report, work(self._settings))
            for number, step in enumerate(session.steps, 1):
                if step.clients and step.server == deployer.names[0]:
                    self._upload_by_boto3(step.clients)
                found = session.measure(number, step, step.clients * self._size)
                measurements.append(self._read_back(found))
        return StorageResults(
            self._settings, tuple(measurements), tuple(self._references), self._first_bytes()
        )

    def _upload_by_boto3(self, clients: int) -> None:
        settings = self._settings
        if self._place.scheme != "s3":
            return
        alone = Boto3Job(
            self._place.url, self._place.environment, clients, self._size, settings.parts,
            settings.seed, settings.deadline,
        )  # fmt: skip
        result = _alone("uploads by boto3", boto3_uploads.run, alone)
        self._references.append(reference(clients, result))
        self._remove(range(clients))

    def _read_back(self, run: Measurement) -> Measurement:
        if self._objects is None or not run.clients:
            return run
        address = Address("", 0, "")
        (body,) = make_bodies(_job(self._settings, address, run.clients)).values()
        good = [upload.client for upload in run.uploads if upload.outcome == "ok"]
        wrong = [difference(self._objects, str(client), body) for client in good]
        self._remove(range(run.clients))
        return StorageMeasurement(**vars(run), wrong=tuple(filter(None, wrong)))

    def _remove(self, clients: Iterable[int]) -> None:
        for client in clients if self._objects else ():
            assert self._objects
            self._objects.remove(str(client))

    def _first_bytes(self) -> tuple[FirstByte, ...]:
        """One upload for each server, through a relay that slows it down."""
        endpoint = self._place.endpoint
        if endpoint is None or not endpoint.startswith("http://"):
            return ()
        with relay(endpoint) as between:
            environment = {**self._place.environment, "AWS_ENDPOINT_URL": between.endpoint}
            through = Destination(self._place.url, environment)
            with deploying(self._settings, job(through)) as deployer:
                return tuple(
                    self._first_byte(deployer, name, between.reset, lambda: between.first_content)
                    for name in deployer.names
                )

    def _first_byte(
        self,
        deployer: Deployer,
        name: str,
        reset: Callable[[], None],
        first: Callable[[], float | None],
    ) -> FirstByte:
        with deployer.running(name) as running:
            reset()
            paced = replace(self._settings, speeds=(PACE,))
            result = _alone("uploads", uploads.run, _job(paced, running.address, 1))
            (upload,) = result.uploads
            seen = first()
            self._remove([0])
            after = None if seen is None else seen - upload.start
            return FirstByte(name, after, upload.end - upload.start)


def job(place: Destination) -> Job:
    """What the servers do, and where they store."""
    return Job(APPLICATION, NAIVE, {**place.environment, "STORAGE_URL": place.url})


def work(settings: StorageSettings) -> Work:
    def load(address: Address, clients: int, total: int) -> Load:
        return Load("uploads", uploads.run, _job(settings, address, clients))

    def warm_up(address: Address, total: int) -> Load:
        return Load("uploads", uploads.run, _job(replace(settings, size=WARM_UP), address, 1))

    return Work("upload", load, warm_up)


def _job(settings: StorageSettings, address: Address, clients: int) -> UploadJob:
    return jobs.upload_job(settings, address, clients, clients * (settings.size or WARM_UP))


def _alone(
    doing: str, task: Callable[[Any, crew.Station], UploadResult], job: Boto3Job | UploadJob
) -> UploadResult:
    """What a process does with nothing else beside it."""
    with ExitStack() as stack:
        with held():
            member = stack.enter_context(crew.Member(doing, task, job))
        member.wait_ready()
        member.go(time.perf_counter())
        end = time.monotonic() + job.seconds
        while time.monotonic() < end:
            if member.pipe.poll(0.1) and isinstance(message := member.take(), crew.Result):
                result: UploadResult = message.value
                return result
    raise LoadTestError(f"The process that {doing} did not come to its end.")


def findings(results: StorageResults) -> Findings:
    """Of uploads to a store."""
    rows = make_storage_rows(results.measurements, results.references)
    size = format_size(results.settings.size or WARM_UP)
    return Findings(
        settings=results.settings,
        measurements=results.measurements,
        rows=rows,
        scene=SCENE,
        tables=[
            Grid(
                f"uploads of {size} each; latencies of small requests in ms"
                f"{as_text.of_runs(rows)}; boto3 alone: {_by_boto3(results)}",
                HEADINGS,
                [line(row) for row in rows],
            ),
            *_first_grid(results.first_bytes),
        ],
        apart=as_text.by_connection(rows),
        notes=as_text.notes(results.measurements),
        faults=[fault for run in results.measurements for fault in as_text.faults(run)],
        verdict=verdict(rows),
        by_number=True,
        figures={
            "boto3": [asdict(each) for each in results.references],
            "first_bytes": [asdict(each) for each in results.first_bytes],
        },
    )


def _by_boto3(results: StorageResults) -> str:
    speeds = [(each, speed_of(results.references, each)) for each in results.settings.uploads]
    said = [f"{speed:,.0f} MB/s with {clients}" for clients, speed in speeds if speed]
    return ", ".join(said) or "not measured"


def line(row: StorageRow) -> list[str]:
    cells = dict(zip(as_text.HEADINGS, as_text.cells(row), strict=True))
    cells["of boto3"] = as_text.optional(row.of_boto3, ".2f")
    return [cells[heading] for heading in HEADINGS]


def _first_grid(found: Sequence[FirstByte]) -> list[Grid]:
    if not found:
        return []
    lines = [
        [
            each.server,
            "never" if each.after is None else format_seconds(each.after),
            format_seconds(each.seconds),
            "-" if each.after is None else f"{each.after / each.seconds:.0%}",
        ]
        for each in found
    ]
    return [Grid(f"when the store saw the first byte of an upload at {PACE}", FIRST, lines)]


def verdict(rows: Sequence[StorageRow]) -> str:
    """One sentence about the servers with their uploads."""
    loaded = [row for row in rows if row.clients]
    speeds = ", ".join(
        f"{as_text.optional(row.of_boto3, '.2f')} on {row.server} with {row.clients}"
        for row in loaded
    )
    worst = ", ".join(f"{as_text.worst_of(row)} on {row.server}" for row in loaded)
    return f"Of the speed of boto3 alone: {speeds}; worst small request: {worst}."


def _of_boto3(row: object, kind: str | None) -> float | None:
    return row.of_boto3 if isinstance(row, StorageRow) else None


SCENARIO = Scenario(
    name="storage",
    settings=StorageSettings,
    run=run,
    switch=value(
        "--storage",
        "URL",
        parse_storage,
        f"instead: uploads that are stored there (s3://bucket, file:///folder), or in a "
        f"{SEAWEEDFS} that is started for it",
        nargs="?",
        const=SEAWEEDFS,
    ),
    title="uploads to a store",
    options=(
        Option("--endpoint", "of an s3:// that is not Amazon's", {"metavar": "URL"}),
        number("--parts", int, "of boto3 alone that are in flight at once (default: 10)"),
    ),
    notes={
        "uploads": "of --storage 8,32",
        "size": "of --storage 64MiB",
        "body": "of --storage raw",
        "upload_path": f"for --storage /objects/{CLIENT}",
    },
    meaningless=("total", "seconds", "verify_sha256", "store", "urls"),
    metrics=(Metric("of_boto3", _of_boto3),),
)
