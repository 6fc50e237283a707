"""The results as JSON: settings, environment, the table's figures, and every sample.

Times are in seconds; those of samples count from the start of their measurement. Probes are lists
to keep the file small; `probe_fields` names their places.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from loadtest.clients.probes import Probe
from loadtest.measuring.statistics import Measurement
from loadtest.reports.findings import Findings
from loadtest.settings import Settings

FORMAT = 1
PROBE_FIELDS = ("due", "sent", "end", "connection", "outcome")


def render(found: Findings, facts: dict[str, str]) -> str:
    """`facts` are about the environment."""
    content = {
        "format": FORMAT,
        "settings": _settings(found.settings),
        "environment": facts,
        **found.figures,
    }
    if found.measurements:
        content |= _measured(found)
    return json.dumps(content) + "\n"


def _measured(found: Findings) -> dict[str, Any]:
    return {
        "verdict": found.verdict,
        "notes": list(found.notes),
        "rows": [asdict(row) for row in found.rows],
        "probe_fields": PROBE_FIELDS,
        "measurements": [_measurement(run) for run in found.measurements],
    }


def _settings(settings: Settings) -> dict[str, Any]:
    """Without what may be credentials: a results file is passed around."""
    return {**asdict(settings), "headers": [name for name, _ in settings.headers]}


def _measurement(run: Measurement) -> dict[str, Any]:
    return {
        "server": run.server,
        "clients": run.clients,
        "window": run.window,
        "cost": asdict(run.cost) if run.cost else None,
        "client_load": run.client_load,
        "foreign_load": run.foreign_load,
        "late": run.late,
        "client_late": run.client_late,
        "workers_lost": run.workers_lost,
        "uploads": [asdict(upload) for upload in run.uploads],
        **run.other_figures(),
        "probes": [_probe(probe) for probe in run.probes],
    }


def _probe(probe: Probe) -> list[float | str]:
    times = [round(value, 6) for value in (probe.due, probe.sent, probe.end)]
    return [*times, probe.connection, probe.outcome]
