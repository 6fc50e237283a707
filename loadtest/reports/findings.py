"""What a run found, in the form that every report needs: text, JSON, HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadtest.measuring.statistics import Measurement, Row
from loadtest.settings import Settings


@dataclass(frozen=True)
class Grid:
    """A table: what it shows, as half a sentence, its headings and its lines."""

    caption: str
    headings: Sequence[str]
    lines: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Findings:
    """`apart` are lines that tell the kinds of connections apart; `faults` are among the `notes`.

    `rows` are what assertions are about. `scene` says what was done, for whom has not started it.
    `by_number` says that numbers of uploads were compared, which is worth a picture. Where nothing
    was measured beside small requests, there are tables and `figures`, by their names for JSON.
    """

    settings: Settings
    measurements: Sequence[Measurement]
    rows: Sequence[Row]
    scene: str
    tables: Sequence[Grid]
    apart: Sequence[str]
    notes: Sequence[str]
    faults: Sequence[str]
    verdict: str
    by_number: bool = False
    figures: Mapping[str, Any] = field(default_factory=dict)
