"""What a scenario has to say of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from loadtest.options import Option
from loadtest.reports.findings import Findings
from loadtest.reports.metrics import Metric
from loadtest.settings import Settings


@dataclass(frozen=True)
class Scenario:
    """One way to measure servers.

    name: as the sentences for the person at the terminal have it.
    settings: its choices and defaults. A subclass of Settings adds what only this scenario has.
    run: measures everything and tells the console how far it is; it is called with settings of
        that class which are valid. Raises LoadTestError if a fault leaves nothing to measure.
    switch: the option that chooses it, whose value is a setting of the same name; without one it
        is the scenario of those who choose none.
    title, options: what it has besides, as a group of --help, each named as its setting.
    notes: what it adds to the help of the options that all have, by the name of the setting.
    meaningless: settings of all that mean nothing here: better refused than ignored.
    metrics: what --assert can ask of it beyond the common ones.
    has_speed: whether contents are uploaded, so that servers differ in how fast.
    without_report: where it has neither report nor picture nor rows: the sentence for who asks.
    """

    name: str
    settings: type[Settings]
    run: Callable[[Any, Console], Findings]
    switch: Option | None = None
    title: str = ""
    options: Sequence[Option] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    meaningless: Sequence[str] = ()
    metrics: Sequence[Metric] = ()
    has_speed: bool = True
    without_report: str = ""
