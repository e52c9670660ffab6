"""Words on pictures, in the one font that Pillow carries: the same on every machine, but it has ASCII only."""

import unicodedata
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

SIGNS = {"−": "-", "–": "-", "—": "-", "×": "x", "·": ".", "→": "->", "∞": "inf", "≤": "<=", "≥": ">=", "≈": "~"}
LINES, LONGEST = 4, 200
"""How many lines of a label are drawn, and letters of a line."""
GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu "
    "nu xi omicron pi rho sigma tau upsilon phi chi psi omega"
)
GREEK = dict(zip("αβγδεζηθικλμνξοπρστυφχψω", GREEK_NAMES.split(), strict=True))


def to_ascii(label: str) -> str:
    """The label as that font can draw it: `sigma` for σ, `e` for é, `?` for a character with no such spelling.

    Of long ones the beginning: a sheet is as large as its labels, and names may come from files of others.
    """
    label = "\n".join(line if len(line) <= LONGEST else f"{line[:LONGEST]}..." for line in label.split("\n")[:LINES])
    letters = [c for c in unicodedata.normalize("NFKD", label) if not unicodedata.combining(c)]
    return "".join(c if c.isascii() else (SIGNS | GREEK).get(c.lower(), "?") for c in letters)


def extent(labels: Sequence[str], size: int) -> tuple[int, int]:
    """Width and height in pixels that every one of the labels fits in; (0, 0) if there are none."""
    draw, font = ImageDraw.Draw(Image.new("L", (1, 1))), ImageFont.load_default(size)
    corners = [draw.textbbox((0, 0), to_ascii(label), font=font)[2:] for label in labels]
    return int(max((right for right, _ in corners), default=0)), int(max((low for _, low in corners), default=0))
