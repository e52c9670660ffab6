"""How a schedule shows itself in a notebook: its name, and alpha and sigma along u as a small SVG."""

from collections.abc import Callable
from html import escape

import torch

from limpid.diffusion.level import Level, UnitInterval

WIDTH, HEIGHT, MARGIN = 300, 120, 24
"""Size of the plot in pixels, and the space around it."""
CURVES = {"alpha": "#1f6fb4", "sigma": "#c4561a"}
POINTS = 100


def schedule_html(schedule: Callable[[UnitInterval], Level]) -> str:
    """The schedule as HTML: alpha and sigma against u, scaled to alpha^2 + sigma^2 = 1 as every path can be."""
    u = (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS
    level = schedule(u).to_vp()
    lines = [svg_curve(name, u.tolist(), getattr(level, name).tolist(), color) for name, color in CURVES.items()]
    frame = f'<rect x="{MARGIN}" y="{MARGIN}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>'
    bottom = HEIGHT + 2 * MARGIN - 8
    ticks = "".join(
        f'<text x="{x}" y="{y}" fill="#777" text-anchor="{anchor}">{text}</text>'
        for x, y, anchor, text in (
            (MARGIN, bottom, "middle", "u = 0"),
            (WIDTH + MARGIN, bottom, "middle", "1"),
            (MARGIN - 4, MARGIN + 4, "end", "1"),
            (MARGIN - 4, MARGIN + HEIGHT + 4, "end", "0"),
        )
    )
    size = f'width="{WIDTH + 2 * MARGIN}" height="{HEIGHT + 2 * MARGIN}"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="11">{frame}{ticks}{"".join(lines)}</svg>'
    return f"<div><code>{escape(str(schedule))}</code><br/>{svg}</div>"


def svg_curve(name: str, x: list[float], y: list[float], color: str) -> str:
    """A curve in the unit square, with its name above the plot."""
    path = " ".join(f"{MARGIN + WIDTH * a:.1f},{MARGIN + HEIGHT * (1 - b):.1f}" for a, b in zip(x, y, strict=True))
    left = MARGIN + 40 * list(CURVES).index(name)
    label = f'<text x="{left}" y="{MARGIN - 6}" fill="{color}">{name}</text>'
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>{label}'
