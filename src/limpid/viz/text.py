"""Text on images: ASCII in the font that comes with Pillow, other letters in DejaVu Sans, which comes with matplotlib.

A character that the font lacks, such as a Chinese one, is shown as its code, <U+732B>, so that names stay different.
"""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIGNS = {"−": "-", "–": "-", "—": "-", "×": "x", "·": ".", "→": "->", "∞": "inf", "≤": "<=", "≥": ">=", "≈": "~"}
MAX_LINES, MAX_LINE_LENGTH = 4, 200
"""Limits of the lines of a label, and of the characters of a line."""
GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu "
    "nu xi omicron pi rho sigma tau upsilon phi chi psi omega"
)
GREEK = dict(zip("αβγδεζηθικλμνξοπρστυφχψω", GREEK_NAMES.split(), strict=True))


def typeset(label: str, size: int) -> tuple[str, ImageFont.FreeTypeFont | ImageFont.ImageFont]:
    """The text of a label as it is shown, and its font: DejaVu Sans for letters outside ASCII, if matplotlib is
    installed.

    Long labels are shortened, also after characters are replaced by codes: a sheet grows with its labels, and class
    names may come from files of other people.
    """
    label = short_label(label)
    if not has_other_letters(label) or not (font := dejavu_sans()):
        return short_label(to_ascii(label)), ImageFont.load_default(size)
    path, characters = font
    letters = unicodedata.normalize("NFC", label)
    text = "".join(c if c == "\n" or ord(c) in characters else character_code(c) for c in letters)
    return short_label(text), ImageFont.truetype(path, size)


def short_label(label: str) -> str:
    """The first `MAX_LINES` lines of a label, each of at most `MAX_LINE_LENGTH` characters and three dots."""
    lines = label.split("\n")[:MAX_LINES]
    return "\n".join(line if len(line) <= MAX_LINE_LENGTH else f"{line[:MAX_LINE_LENGTH]}..." for line in lines)


def has_other_letters(label: str) -> bool:
    """Whether there are letters besides ASCII and single Greek ones, which are symbols with a name."""
    letters = unicodedata.normalize("NFC", label)
    for i, letter in enumerate(letters):
        base = unicodedata.normalize("NFKD", letter)[0].lower()
        symbol = base in GREEK and not any(c.isalpha() for c in letters[max(i - 1, 0) : i] + letters[i + 1 : i + 2])
        if letter.isalpha() and not letter.isascii() and not symbol:
            return True
    return False


@lru_cache
def dejavu_sans() -> tuple[str, frozenset[int]] | None:
    """The file of DejaVu Sans and the codes of its characters; None without matplotlib."""
    try:
        from matplotlib import get_data_path
        from matplotlib.ft2font import FT2Font
    except ImportError:
        return None
    path = str(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
    return path, frozenset(FT2Font(path).get_charmap())


def to_ascii(label: str) -> str:
    """The label in ASCII: `sigma` for σ, `e` for é, its code for a character without such a spelling."""
    letters = [c for c in unicodedata.normalize("NFKD", label) if not unicodedata.combining(c)]
    return "".join(c if c.isascii() else (SIGNS | GREEK).get(c.lower(), character_code(c)) for c in letters)


def character_code(character: str) -> str:
    """A character as its Unicode code in brackets: <U+732B>."""
    return f"<U+{ord(character):04X}>"


def extent(labels: Sequence[str], size: int) -> tuple[int, int]:
    """The width and height in pixels that each of the labels fits in; (0, 0) without labels."""
    draw, texts = ImageDraw.Draw(Image.new("L", (1, 1))), [typeset(label, size) for label in labels]
    corners = [draw.textbbox((0, 0), text, font=font)[2:] for text, font in texts]
    return int(max((right for right, _ in corners), default=0)), int(max((low for _, low in corners), default=0))
