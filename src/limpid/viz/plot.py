"""Plots: curves on one pair of axes, or several side by side. Needs matplotlib, and changes none of its settings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from limpid.storage.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURE_FORMATS = (".png", ".svg", ".pdf")
# Okabe and Ito's colours, which colour-blind people can distinguish, without their yellow, too pale for a line.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#4D4D4D")
TEXT, MUTED, GRID = "#202124", "#5F6368", "#E3E4E6"
WIDTH, DPI, MAX_COLUMNS = 8, 150, 3
"""The width of a figure in inches, dots per inch (so 1200 pixels), and the most plots side by side."""
DECADES = 12
"""Decades of a logarithmic axis: smaller values are outside of it, so that the others stay visible."""


@dataclass(frozen=True)
class Curve:
    """A line through points, or the points only if `faint`. Curves of one label share a colour and a legend entry."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    faint: bool = False

    def __post_init__(self) -> None:
        if not len(self.x) == len(self.y) > 0:
            raise ValueError(f"curve {self.label!r} has {len(self.x)} x and {len(self.y)} y: expected points")


@dataclass(frozen=True)
class Panel:
    """The curves of one pair of axes."""

    series: Sequence[Curve]
    title: str = ""
    x: str = ""
    y: str = ""
    log_x: bool = False
    log_y: bool = False


def with_mean(curve: Curve, window: int = 0) -> list[Curve]:
    """The points of a curve, faint, and their running mean by a Hann window of `window` points (0: a twentieth)."""
    window = min(len(curve.y), max(1, window or len(curve.y) // 20))
    weights = np.hanning(window + 2)[1:-1]
    sums, totals = (np.convolve(y, weights, "same") for y in (curve.y, np.ones(len(curve.y))))
    return [replace(curve, faint=True), replace(curve, y=(sums / totals).tolist())]


def curves(
    series: Sequence[Curve],
    path: Path | str,
    title: str = "",
    x: str = "",
    y: str = "",
    log_x: bool = False,
    log_y: bool = False,
) -> Path:
    """Plot curves on one pair of axes with the labels `x` and `y`, as PNG, SVG or PDF by the suffix of `path`."""
    return panels([Panel(series, title, x, y, log_x, log_y)], path)


def panels(plots: Sequence[Panel], path: Path | str, title: str = "") -> Path:
    """Draw plots side by side, up to three in a row. Raises ValueError without curves, and without matplotlib."""
    path = Path(path)
    if path.suffix.lower() not in FIGURE_FORMATS:
        raise ValueError(f"no figure is written as {path.name!r}: choose from {', '.join(FIGURE_FORMATS)}")
    if not plots or not all(plot.series for plot in plots):
        raise ValueError("no curves were given: expected one or more in every plot")
    rows = ceil(len(plots) / MAX_COLUMNS)
    columns = ceil(len(plots) / rows)
    figure = new_figure(WIDTH, rows * {1: 4.5, 2: 3.4, 3: 2.8}[columns])
    if title:
        figure.suptitle(title, x=0.01, ha="left", size=13, weight="bold", color=TEXT, parse_math=False)
    axes = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for plot, pair in zip(plots, axes, strict=False):
        draw_panel(plot, pair)
        add_title_and_legend(plot.title, pair, room=int(12 * WIDTH / columns))
        style_axes(pair)
    for empty in axes[len(plots) :]:
        empty.remove()
    with atomic_write(path) as part:
        figure.savefig(part, format=path.suffix.lower().lstrip("."), dpi=DPI)
    return path


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of this size in inches. Raises ValueError if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError:
        raise ValueError('plots need matplotlib: pip install "limpid-diffusion[plots]"') from None
    return Figure((width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1), facecolor="white")


def draw_panel(plot: Panel, axes: "Axes") -> None:
    """Plot the curves on a pair of axes. Raises ValueError for a curve that a logarithmic axis cannot show."""
    labels = list(dict.fromkeys(curve.label for curve in plot.series))
    for curve in plot.series:
        for name, values, log in (("x", curve.x, plot.log_x), ("y", curve.y, plot.log_y)):
            if log and not any(value > 0 for value in values):
                raise ValueError(f"curve {curve.label!r} has no positive {name}: a logarithmic axis cannot show it")
        color = PALETTE[labels.index(curve.label) % len(PALETTE)]
        if curve.faint:
            axes.plot(curve.x, curve.y, ".", color=color, ms=4, mew=0, alpha=0.35)
        else:
            few = len(curve.x) <= 20
            axes.plot(curve.x, curve.y, "o-" if few else "-", color=color, lw=2, ms=4.5, label=curve.label)
    axes.set_xlabel(plot.x, color=MUTED, parse_math=False)
    axes.set_ylabel(plot.y, color=MUTED, parse_math=False)
    axes.set_xscale("log" if plot.log_x else "linear")
    axes.set_yscale("log" if plot.log_y else "linear")


def add_title_and_legend(title: str, axes: "Axes", room: int) -> None:
    """Add the title and, for several curves, the legend: above the axes, on the left, where they cover no data.

    `room` is the number of characters of the legend that fit in a line.
    """
    _, labels = axes.get_legend_handles_labels()
    if len(labels) < 2:
        axes.set_title(title, loc="left", size=11, weight="bold", color=TEXT, parse_math=False)
        return
    widths = [len(label) + 5 for label in labels]
    legend = axes.legend(
        ncols=len(labels) if sum(widths) <= room else max(1, room // max(widths)),
        title=title,
        title_fontproperties={"weight": "bold", "size": 11},
        alignment="left",
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.1,
        borderpad=0.1,
        frameon=False,
        fontsize=9,
        labelcolor=TEXT,
        handlelength=1.2,
        handletextpad=0.5,
        columnspacing=1.3,
    )
    legend.get_title().set_color(TEXT)
    for text in (legend.get_title(), *legend.get_texts()):
        text.set_parse_math(False)


def style_axes(axes: "Axes") -> None:
    """Style axes for reading values: horizontal grid lines, few tick marks, short numbers."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullLocator

    axes.margins(x=0.02)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(which="both", length=0, labelsize=9, labelcolor=MUTED)
    axes.grid(axis="y", color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        if axis.get_scale() == "log":
            top = axis.get_data_interval()[1]
            if low < top / 10**DECADES:
                low, high = top / 10**DECADES, 4 * top
                axis.set_view_interval(low, high, ignore=True)
            axis.set_minor_locator(NullLocator())
            if high > 1000 * low:
                continue
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        size = max(-low, high)
        short = FuncFormatter(scientific if size < 0.005 else lambda value, _: f"{value:g}")
        axis.set_major_formatter(EngFormatter(sep="") if size >= 10_000 else short)


def scientific(value: float, position: int | None = None) -> str:
    """A small number with its power of ten, as in 2.5e-5, and 0 as 0; `position` on the axis is not used."""
    digits, power = f"{value:.3e}".split("e")
    return f"{float(digits):g}e{int(power)}" if value else "0"
