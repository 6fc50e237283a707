"""The results as one HTML file that needs nothing else: verdict, pictures, table, notes, settings.

Readable in light and dark, on a phone too: the page carries each picture in two shapes and shows
the one that fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from loadtest import figures, report_text
from loadtest.statistics import Measurement, Row

TEMPLATE = "report.html.jinja"


def render(
    measurements: Sequence[Measurement],
    rows: Sequence[Row],
    *,
    command: str,
    sentences: Sequence[str],
    facts: dict[str, str],
) -> str:
    """The page. `sentences` are the notes; `facts` the settings and the environment."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    pictures = {
        f"{name}_{size}": Markup(figures.to_svg(figure, f"{name}-{size}"))  # our own SVG
        for size, shape in (("wide", figures.WIDE), ("narrow", figures.NARROW))
        for name, figure in (
            ("timeline", figures.timeline(measurements, shape)),
            ("against", figures.against_uploads(rows, shape)),
        )
    }
    return environment.get_template(TEMPLATE).render(
        verdict=report_text.verdict(rows),
        headings=report_text.HEADINGS,
        rows=[report_text.cells(row) for row in rows],
        markdown=report_text.markdown(rows),
        connections=report_text.by_connection(rows),
        runs=rows[0].runs,
        notes=sentences,
        facts=facts,
        command=command,
        light=figures.LIGHT,
        dark=figures.DARK,
        **pictures,
    )
