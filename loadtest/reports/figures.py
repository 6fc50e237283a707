"""The pictures: latency over time, and latency against the number of uploads.

In the first each small request is a horizontal line: it begins when the request was due, ends when
it was answered, and stands as high as it waited. An idle server draws a row of dots at 1 ms, and a
request that waited 14 s is a line 14 s long.

Each picture is drawn for a wide screen and for a narrow one. The SVG takes its colours from CSS
variables of the page that holds it (--ink, --muted, --grid, --shade, --server-0 ...), so that it
follows light and dark; the PNG has the light ones.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from loadtest.clients.probes import Probe
from loadtest.measuring.statistics import Measurement, Row
from loadtest.units import format_seconds

LIGHT = {
    "ink": "#1c2530",
    "muted": "#5d6b7a",
    "grid": "#dfe4ea",
    "shade": "#eef1f4",
    "bad": "#b3261e",
    "server-0": "#c8511b",
    "server-1": "#0b7285",
    "server-2": "#6741d9",
    "server-3": "#2b8a3e",
    "server-4": "#a61e4d",
    "server-5": "#846100",
    "server-6": "#495057",
    "server-7": "#1864ab",
}
DARK = {
    "ink": "#e6ebf0",
    "muted": "#9aa7b4",
    "grid": "#2c3742",
    "shade": "#1d262f",
    "bad": "#ff8a80",
    "server-0": "#ff8f5a",
    "server-1": "#4cc9dc",
    "server-2": "#b197fc",
    "server-3": "#69db7c",
    "server-4": "#faa2c1",
    "server-5": "#ffd43b",
    "server-6": "#ced4da",
    "server-7": "#74c0fc",
}
SERVER_COLOURS = sum(name.startswith("server-") for name in LIGHT)
FLOOR = 2e-4  # seconds: lower than any answer over TCP
STARVED = 0.05  # seconds: longer waits are drawn thin, so that they can be told apart
DPI = 160


@dataclass(frozen=True)
class Shape:
    """A screen: inches of width, of height for each server, and whether it is narrow."""

    width: float
    row: float
    narrow: bool


WIDE = Shape(10.5, 2.3, narrow=False)
NARROW = Shape(4.2, 2.5, narrow=True)


def timeline(measurements: Sequence[Measurement], shape: Shape) -> Figure:
    """One panel a server, one column a number of uploads; the first run of each."""
    servers = list(dict.fromkeys(run.server for run in measurements))
    numbers = list(dict.fromkeys(run.clients for run in measurements))
    first = {(run.server, run.clients): run for run in reversed(measurements)}
    titles = {run.clients: _title(run, shape) for run in measurements}
    spans = [max(_length(run) for run in measurements if run.clients == n) for n in numbers]
    top = max((p.latency for run in measurements for p in run.probes), default=1.0) * 3
    figure = Figure(figsize=(shape.width, shape.row * len(servers) + 0.7), layout="constrained")
    grid = figure.subplots(
        len(servers),
        len(numbers),
        sharey=True,
        sharex="col",
        squeeze=False,
        width_ratios=[max(span, sum(spans) / len(spans) / 2) for span in spans],
    )
    figure.get_layout_engine().set(w_pad=0.02, wspace=0.01)  # type: ignore[union-attr, call-arg]
    for i, server in enumerate(servers):
        for j, number in enumerate(numbers):
            axes = grid[i][j]
            _style(axes, left=j == 0)
            axes.set_yscale("log")
            axes.set_ylim(FLOOR, top)
            axes.set_xlim(0, spans[j])
            if i == 0:
                axes.set_title(titles[number], fontsize=9, color=_c("muted"))
            if (server, number) in first:
                _draw_run(axes, first[server, number], _server_colour(i), shape)
        _name_panel(grid[i][0], server, _server_colour(i))
    figure.supxlabel("seconds", fontsize=9, color=_c("muted"))
    _format_latency(grid[0][0])
    return figure


def _draw_run(axes: Axes, run: Measurement, colour: str, shape: Shape) -> None:
    for upload in run.uploads:
        axes.axvspan(upload.start, upload.end, color=_c("shade"), zorder=0, linewidth=0)
    good = [probe for probe in run.probes if probe.outcome == "ok"]
    _draw_lines(axes, [p for p in good if p.latency < STARVED], colour, width=1.7)
    _draw_lines(axes, [p for p in good if p.latency >= STARVED], colour, width=0.7)
    _draw_lines(axes, [p for p in run.probes if p.outcome != "ok"], _c("bad"), width=1.7)
    if not run.uploads or not run.counted:
        return
    worst = max(run.counted, key=lambda probe: probe.latency)
    axes.plot(
        [worst.due, worst.end],
        [worst.latency] * 2,
        color=_c("ink"),
        linewidth=2.4,
        solid_capstyle="round",
        zorder=3,
    )
    left = worst.due < sum(axes.get_xlim()) / 2
    text = format_seconds(worst.latency)
    axes.annotate(
        text if shape.narrow else f"longest wait {text}",
        (max(0.0, worst.due) if left else worst.end, worst.latency),
        xytext=(0, 4),
        textcoords="offset points",
        fontsize=8.5,
        fontweight="bold",
        color=_c("ink"),
        ha="left" if left else "right",
    )
    if run.content_bytes and not shape.narrow:
        speed = run.content_bytes / 1e6 / run.seconds
        axes.text(
            0.02,
            0.04,
            f"{speed:,.0f} MB/s",
            transform=axes.transAxes,
            fontsize=8.5,
            color=_c("muted"),
        )


def _draw_lines(axes: Axes, probes: Sequence[Probe], colour: str, *, width: float) -> None:
    # One path with gaps: hundreds of lines as objects of their own would swell the file.
    xs = [x for probe in probes for x in (probe.due, probe.end, math.nan)]
    ys = [y for probe in probes for y in (probe.latency, probe.latency, math.nan)]
    axes.plot(xs, ys, color=colour, linewidth=width, solid_capstyle="round", zorder=2)


def against_uploads(rows: Sequence[Row], shape: Shape) -> Figure:
    """p50, p99 and maximum of each server, over the numbers of uploads."""
    servers = list(dict.fromkeys(row.server for row in rows))
    numbers = sorted({row.clients for row in rows})
    figure = Figure(figsize=(shape.width, 3.6), layout="constrained")
    axes = figure.subplots()
    _style(axes, left=True)
    axes.set_yscale("log")
    for i, server in enumerate(servers):
        mine = sorted((row for row in rows if row.server == server), key=lambda row: row.clients)
        places = [numbers.index(row.clients) + (i - (len(servers) - 1) / 2) * 0.12 for row in mine]
        lows = [row.latency.p50 for row in mine]
        highs = [row.worst for row in mine]
        middles = [row.latency.p99 for row in mine]
        colour = _server_colour(i)
        axes.vlines(places, lows, highs, color=colour, linewidth=1.2, alpha=0.55)
        axes.plot(places, middles, color=colour, linewidth=2, marker="o", markersize=6)
        axes.plot(places, lows, color=colour, linestyle="none", marker="_", markersize=11)
        axes.plot(places, highs, color=colour, linestyle="none", marker="^", markersize=6)
        axes.annotate(
            server,
            (places[-1], middles[-1]),
            xytext=(9, 0),
            textcoords="offset points",
            color=colour,
            fontsize=9,
            fontweight="bold",
            va="center",
        )
    axes.set_xticks(range(len(numbers)), [str(n) if n else "idle" for n in numbers])
    axes.set_xlim(-0.4, len(numbers) - 1 + (1.1 if shape.narrow else 0.6))
    axes.set_xlabel("uploads at once", fontsize=9, color=_c("muted"))
    axes.set_title("line: p50 to longest wait ▲, p99 ●", fontsize=9, color=_c("muted"), loc="left")
    axes.set_ylim(bottom=FLOOR)
    _format_latency(axes)
    return figure


def to_svg(figure: Figure, name: str) -> str:
    """An <svg> element that takes its colours from the page. `name` keeps its ids apart."""
    out = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "path.simplify": False}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    for colour, value in LIGHT.items():
        text = text.replace(value, f"var(--{colour})")
    return text


def to_png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, facecolor="white")
    return out.getvalue()


def _length(run: Measurement) -> float:
    return max([run.window[1], *(probe.end for probe in run.probes)])


def _title(run: Measurement, shape: Shape) -> str:
    if not run.uploads:
        return "idle"
    # There are many columns only where numbers of uploads are compared.
    if shape.narrow and run.noun == "upload":
        return f"{run.clients} up"
    return run.load


def _style(axes: Axes, *, left: bool) -> None:
    axes.set_facecolor("none")
    axes.grid(axis="y", which="major", color=_c("grid"), linewidth=0.8, zorder=1)
    axes.tick_params(which="both", colors=_c("muted"), labelsize=8, length=0, pad=4)
    axes.tick_params(which="minor", left=False)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom" or (side == "left" and not left))
        spine.set_color(_c("grid"))


def _name_panel(axes: Axes, server: str, colour: str) -> None:
    axes.text(
        0.02,
        0.96,
        server,
        transform=axes.transAxes,
        color=colour,
        fontsize=10,
        fontweight="bold",
        va="top",
        clip_on=False,
    )


def _format_latency(axes: Axes) -> None:
    def show(value: float, position: Any) -> str:
        return f"{value * 1000:g} ms" if value < 0.9 else f"{value:g} s"

    axes.yaxis.set_major_formatter(FuncFormatter(show))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _c(name: str) -> str:
    return LIGHT[name]


def _server_colour(index: int) -> str:
    return LIGHT[f"server-{index % SERVER_COLOURS}"]
