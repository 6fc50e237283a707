"""Large uploads beside small requests: what is measured unless another scenario is chosen."""

from __future__ import annotations

import tempfile

from rich.console import Console

from loadtest.clients import uploads
from loadtest.clients.connection import Address
from loadtest.errors import LoadTestError
from loadtest.measuring import jobs, plan
from loadtest.measuring.measure import Load
from loadtest.measuring.session import Report, Results, Session, Work, deploying, free_disk
from loadtest.reports import as_text
from loadtest.reports.findings import Findings
from loadtest.reports.progress import Display
from loadtest.scenarios.contract import Scenario
from loadtest.settings import Settings


def run(settings: Settings, console: Console) -> Findings:
    with Display(console) as display:
        results = measure(settings, display.show)
    return as_text.findings(results)


def measure(settings: Settings, report: Report) -> Results:
    """Each number of uploads on each server."""
    with deploying(settings) as deployer:
        session = Session(settings, deployer, report, work(settings))
        free = free_disk(settings)
        total = settings.total or choose_total(session, settings, free)
        if free is not None:
            plan.check_disk(total, free, tempfile.gettempdir())
        return Results(settings, total, tuple(session.measure_all(total)))


def work(settings: Settings) -> Work:
    def load(address: Address, clients: int, total: int) -> Load:
        job = jobs.upload_job(settings, address, clients, total)
        return Load("uploads", uploads.run, job)

    def warm_up(address: Address, total: int) -> Load:
        return load(address, 1, min(plan.WARM_UP, total))

    return Work("upload", load, warm_up)


def choose_total(session: Session, settings: Settings, free: int | None) -> int:
    """How much to upload: found out on the first server, unless the settings say it."""
    if settings.size:
        return settings.size * max(1, *settings.uploads)
    if not any(settings.uploads):
        return plan.SMALLEST
    first = plan.Step(session.steps[0].server, 1)
    measurement = session.measure(0, first, plan.CALIBRATION)
    if not measurement.content_bytes:
        raise LoadTestError(
            f"The first upload to {first.server} failed: {measurement.uploads[0].outcome}."
        )
    speed = measurement.content_bytes / measurement.seconds
    return plan.choose_total(settings, session.steps, speed, free)


SCENARIO = Scenario(name="uploads", settings=Settings, run=run)
