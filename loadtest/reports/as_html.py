"""The results as one HTML file that needs nothing else: verdict, pictures, table, notes, settings.

Readable in light and dark, on a phone too: the page carries each picture in two shapes and shows
the one that fits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from loadtest.reports import as_text, figures
from loadtest.reports.findings import Findings

TEMPLATE = "report.html.jinja"
SHAPES = {"wide": figures.WIDE, "narrow": figures.NARROW}


def render(found: Findings, *, command: str, facts: dict[str, str]) -> str:
    """The page. `facts` are about the environment."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    pictures = {"timeline": _both(lambda s: figures.timeline(found.measurements, s), "timeline")}
    if found.by_number:
        pictures["against"] = _both(lambda s: figures.against_uploads(found.rows, s), "against")
    return environment.get_template(TEMPLATE).render(
        found=found,
        markdown=[as_text.render_grid(grid) for grid in found.tables],
        runs=found.rows[0].runs,
        facts=facts,
        command=command,
        light=figures.LIGHT,
        dark=figures.DARK,
        pictures=pictures,
    )


def _both(draw: Callable[[figures.Shape], Figure], name: str) -> dict[str, Markup]:
    """One picture in both shapes."""
    return {
        size: Markup(figures.to_svg(draw(shape), f"{name}-{size}"))  # our own SVG
        for size, shape in SHAPES.items()
    }
