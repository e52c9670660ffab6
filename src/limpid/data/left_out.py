"""What a reader left out of a set: how many files or arrays of each kind, and the first of their names."""

import re
from dataclasses import dataclass, field
from heapq import nsmallest

from limpid.runtime.terminal import printable

PLURAL = re.compile(r"\b(array|column|file|image|page|set|table|thumbnail|value)s\b")
NUM_EXAMPLES = 3
"""Number of files that are named of each kind that was left out."""
LONGEST_SHOWN = 200
"""Letters of a name that are shown."""


def quantity(n: int, things: str) -> str:
    """A number of things that are named in the plural: "2 .txt files", "1 .txt file"."""
    if n == 1:
        things = PLURAL.sub(r"\1", things, count=1)
    return f"{n:,} {things}"


@dataclass(frozen=True)
class LeftOut:
    """Files or arrays of one kind that belong to no image of the set."""

    kind: str
    """What they are, in the plural, with the reason where it helps: "videos", "PSD images: convert them to PNG"."""
    count: int
    examples: tuple[str, ...]
    """The first `NUM_EXAMPLES` names in the order of the alphabet."""

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.examples) else ""
        return f"{quantity(self.count, self.kind)} ({', '.join(map(shown_name, self.examples))}{more})"


def shown_name(name: str) -> str:
    """A name in one line: of a long one, as broken archives have it, the beginning and the end."""
    line = printable(name)
    return line if len(line) <= LONGEST_SHOWN else f"{line[: LONGEST_SHOWN // 2]}...{line[-LONGEST_SHOWN // 2 :]}"


@dataclass
class LeftOutCounter:
    """Counts what a reader leaves out, and remembers only the names that are shown."""

    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, name: str) -> None:
        """Count one file or array of this kind."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        first = self.names.setdefault(kind, [])
        if len(first) < NUM_EXAMPLES or name < first[-1]:
            self.names[kind] = nsmallest(NUM_EXAMPLES, [*first, name])

    def records(self) -> tuple[LeftOut, ...]:
        """What was counted, by kind."""
        return tuple(LeftOut(kind, n, tuple(self.names[kind])) for kind, n in sorted(self.counts.items()))
