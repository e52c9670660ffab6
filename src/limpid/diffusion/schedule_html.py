"""A schedule in a notebook: its name, and alpha and sigma against u as a small SVG plot."""

from collections.abc import Callable
from html import escape

import torch

from limpid.diffusion.level import Level, UnitInterval

PLOT_WIDTH, PLOT_HEIGHT, PLOT_MARGIN = 300, 120, 24
"""Size of the plot in pixels, and the space around it."""
CURVE_COLORS = {"alpha": "#1f6fb4", "sigma": "#c4561a"}
CURVE_POINTS = 100


def schedule_html(schedule: Callable[[UnitInterval], Level]) -> str:
    """The schedule as HTML: alpha and sigma against u, scaled to alpha^2 + sigma^2 = 1, as any path can be."""
    u = (torch.arange(CURVE_POINTS, dtype=torch.float64) + 0.5) / CURVE_POINTS
    level = schedule(u).to_vp()
    lines = [svg_curve(name, u.tolist(), getattr(level, name).tolist(), color) for name, color in CURVE_COLORS.items()]
    size = f'width="{PLOT_WIDTH}" height="{PLOT_HEIGHT}"'
    frame = f'<rect x="{PLOT_MARGIN}" y="{PLOT_MARGIN}" {size} fill="none" stroke="#999"/>'
    bottom = PLOT_HEIGHT + 2 * PLOT_MARGIN - 8
    ticks = "".join(
        f'<text x="{x}" y="{y}" fill="#777" text-anchor="{anchor}">{text}</text>'
        for x, y, anchor, text in (
            (PLOT_MARGIN, bottom, "middle", "u = 0"),
            (PLOT_WIDTH + PLOT_MARGIN, bottom, "middle", "1"),
            (PLOT_MARGIN - 4, PLOT_MARGIN + 4, "end", "1"),
            (PLOT_MARGIN - 4, PLOT_MARGIN + PLOT_HEIGHT + 4, "end", "0"),
        )
    )
    size = f'width="{PLOT_WIDTH + 2 * PLOT_MARGIN}" height="{PLOT_HEIGHT + 2 * PLOT_MARGIN}"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="11">{frame}{ticks}{"".join(lines)}</svg>'
    return f"<div><code>{escape(str(schedule))}</code><br/>{svg}</div>"


def svg_curve(name: str, x: list[float], y: list[float], color: str) -> str:
    """A curve in the unit square, with its name above the plot."""
    path = " ".join(
        f"{PLOT_MARGIN + PLOT_WIDTH * a:.1f},{PLOT_MARGIN + PLOT_HEIGHT * (1 - b):.1f}"
        for a, b in zip(x, y, strict=True)
    )
    left = PLOT_MARGIN + 40 * list(CURVE_COLORS).index(name)
    label = f'<text x="{left}" y="{PLOT_MARGIN - 6}" fill="{color}">{name}</text>'
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>{label}'
