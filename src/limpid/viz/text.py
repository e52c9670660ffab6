"""Text on images, in the font that comes with Pillow: the same on every machine, but it has ASCII only."""

import unicodedata
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

SIGNS = {"−": "-", "–": "-", "—": "-", "×": "x", "·": ".", "→": "->", "∞": "inf", "≤": "<=", "≥": ">=", "≈": "~"}
MAX_LINES, MAX_LINE_LENGTH = 4, 200
"""The most lines of a label that are drawn, and the most characters of a line."""
GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu "
    "nu xi omicron pi rho sigma tau upsilon phi chi psi omega"
)
GREEK = dict(zip("αβγδεζηθικλμνξοπρστυφχψω", GREEK_NAMES.split(), strict=True))


def to_ascii(label: str) -> str:
    """The label in ASCII: `sigma` for σ, `e` for é, `?` for a character without such a spelling.

    Long labels are cut: a sheet grows with its labels, and names may come from files of other people.
    """
    lines = label.split("\n")[:MAX_LINES]
    label = "\n".join(line if len(line) <= MAX_LINE_LENGTH else f"{line[:MAX_LINE_LENGTH]}..." for line in lines)
    letters = [c for c in unicodedata.normalize("NFKD", label) if not unicodedata.combining(c)]
    return "".join(c if c.isascii() else (SIGNS | GREEK).get(c.lower(), "?") for c in letters)


def extent(labels: Sequence[str], size: int) -> tuple[int, int]:
    """The width and height in pixels that each of the labels fits in; (0, 0) without labels."""
    draw, font = ImageDraw.Draw(Image.new("L", (1, 1))), ImageFont.load_default(size)
    corners = [draw.textbbox((0, 0), to_ascii(label), font=font)[2:] for label in labels]
    return int(max((right for right, _ in corners), default=0)), int(max((low for _, low in corners), default=0))
