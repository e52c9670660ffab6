"""What a set of images was understood to be: said before training, and saved with the run."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from limpid.data.left_out import LeftOut, quantity
from limpid.data.statistics import PixelStatistics
from limpid.runtime.terminal import printable

MAX_CLASSES_NAMED = 12
"""Classes that are printed with their counts; of more, the largest and the smallest."""
IMAGES_EXPECTED, COPIES_EXPECTED = 10_000, 1_000
"""Images that the recipes are made for, and those below which a network is expected to generate copies of them."""
DARK, BRIGHT = 0.05, 0.95
"""Mean brightness, of 0 to 1, beyond which a set is nearly black or white."""
STD_FACTOR = 1.6
"""Ratio of the standard deviation to sigma_data beyond which a set is warned of: the loss and the noise levels of the
recipes are made for sigma_data."""
CHANNEL_NAMES = {1: "grey", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class DataDescription:
    """What a set of images was understood to be. Its text has a line for each fact, and one for each warning."""

    name: str
    """What to call the set: its path, or its name."""
    count: int
    """Number of images, of the split that is read."""
    shape: tuple[int, int, int]
    """Channels, height and width."""
    class_names: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    statistics: PixelStatistics | None = None
    """Statistics of the pixels; None of a set that is read as it is needed."""
    splits: tuple[tuple[str, int], ...] = ()
    """The number of images of each split."""
    left_out: tuple[LeftOut, ...] = ()
    """What is in no split, by kind."""
    notes: tuple[str, ...] = ()
    """How the set was understood."""
    duplicates: int = 0
    """Number of held-out images that are equal to a training image, pixel by pixel."""
    duplicate_examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([*self.facts(), *(f"  warning: {line}" for line in self.warnings())])

    def facts(self) -> Iterator[str]:
        """One line for each fact."""
        channels, height, width = self.shape
        line = f"{printable(self.name)}: {quantity(self.count, 'images')} of {height}x{width}, "
        line += CHANNEL_NAMES.get(channels, f"{channels} channels")
        if self.statistics:
            line += f", values {self.statistics.low}..{self.statistics.high}"
            line += f"; in [-1, 1] mean {self.statistics.mean:.2f}, standard deviation {self.statistics.std:.2f}"
        yield line
        if self.splits:
            yield f"  splits: {', '.join(f'{name} {count:,}' for name, count in self.splits)}"
        if not any(note.startswith("no classes: ") for note in self.notes):
            yield f"  {self.class_line()}"
        for note in self.notes:
            yield f"  {note}"
        for each in self.left_out:
            yield f"  left out: {each}"

    def class_line(self) -> str:
        """The classes with their numbers of images, in one line."""
        if not self.class_names:
            return "no classes"
        head = f"{len(self.class_names):,} classes"
        if len(self.class_counts) != len(self.class_names):
            return f"{head}: {_listed(self.class_names)}"
        pairs = list(zip(self.class_names, self.class_counts, strict=True))
        most, least = max(self.class_counts), min(self.class_counts)
        largest = f"the largest {most / least:,.1f} times the smallest" if least else "some of them empty"
        balance = "all of equal size" if most == least else largest
        if len(pairs) > MAX_CLASSES_NAMED:
            pairs = sorted(pairs, key=lambda pair: -pair[1])
            pairs = [*pairs[:3], ("...", 0), *pairs[-3:]]
        named = ", ".join(name if name == "..." else f"{name} {count:,}" for name, count in pairs)
        return f"{head}, {balance}: {named}"

    def warnings(self, sigma_data: float = 0.5, expected: int = 0) -> Iterator[str]:
        """What may be wrong with the set, one line each, for a schedule made for data of this standard deviation and a
        recipe made for `expected` images."""
        if self.statistics:
            yield from _pixel_warnings(self.statistics, sigma_data)
        if self.count < expected:
            copies = ": expect copies of them" if self.count < COPIES_EXPECTED else ""
            yield f"{self.count:,} images are fewer than the {expected:,} that the recipes are made for{copies}"
        if empty := [name for name, n in zip(self.class_names, self.class_counts, strict=False) if not n]:
            have = "1 class has" if len(empty) == 1 else f"{len(empty):,} classes have"
            yield f"{have} no image in this split: {_listed(empty)}"
        if self.duplicates:
            examples = "; ".join(map(printable, self.duplicate_examples))
            found = f"{quantity(self.duplicates, 'held-out images')} {'is' if self.duplicates == 1 else 'are'}"
            yield f"{found} equal to a training image ({examples})"

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for data.json of a run."""
        return asdict(self)


def _pixel_warnings(about: PixelStatistics, sigma_data: float) -> Iterator[str]:
    if about.grey:
        yield "all images are grey: --data.channels L has one channel instead of three"
    brightness = (about.mean + 1) / 2
    if not DARK <= brightness <= BRIGHT:
        yield f"the images are nearly {'black' if brightness < DARK else 'white'}: mean {brightness:.1%} of white"
    if not sigma_data / STD_FACTOR <= about.std <= sigma_data * STD_FACTOR:
        yield f"their standard deviation is {about.std:.2f}, and the noise levels are made for {sigma_data:g}"


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > MAX_CLASSES_NAMED else ""
    return ", ".join(names[:MAX_CLASSES_NAMED]) + more
