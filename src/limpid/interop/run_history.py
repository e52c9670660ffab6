"""What a run folder holds for trackers: its recipe, the numbers of its log, and its sample grids."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from limpid.recipes.registry import MAX_RECIPE_BYTES
from limpid.storage.jsonl import Line, read_jsonl
from limpid.storage.regular_files import read_bytes

Hyperparameters = dict[str, float | str]


class RunHistory(NamedTuple):
    """A run so far. What it holds is read from its folder, which is right also after a resume or a rollback."""

    hyperparameters: Hyperparameters
    """The values of the recipe by their dotted names, as in `network.num_blocks`."""
    recipe: str
    """The recipe as JSON."""
    lines: list[Line]
    """The lines of the log, of losses and of scores, oldest first."""
    grids: dict[int, Path]
    """The sample grids by the number of images seen."""


def read_history(run: Path) -> RunHistory:
    """The history of a run folder. Raises ValueError if it is none."""
    try:
        recipe = json.loads(read_bytes(run / "recipe.json", MAX_RECIPE_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{run} is no run folder: cannot read recipe.json in it ({error})") from error
    grids = {int(file.stem): file for file in sorted(run.glob("samples/*.png")) if file.stem.isdecimal()}
    return RunHistory(dict(flatten(recipe)), json.dumps(recipe, indent=2), read_jsonl(run / "log.jsonl"), grids)


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, float | str]]:
    """The values of nested tables by dotted names; the kind of a table has the table's own name, a list is text."""
    if not isinstance(value, Mapping):
        yield name, value if isinstance(value, int | float | str) else json.dumps(value)
        return
    for key, part in value.items():
        if key != "kind" or name:
            yield from flatten(part, name if key == "kind" else f"{name}.{key}".removeprefix("."))


def scalars_of_line(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of the log by their names; the loss of one range of noise levels is
    `loss_by_logsnr/RANGE`."""
    by_logsnr = {f"loss_by_logsnr/{name}": value for name, value in line.get("loss_by_logsnr", {}).items()}
    plain = {name: value for name, value in line.items() if name not in ("images_seen", "loss_by_logsnr")}
    return plain | by_logsnr


def training_seconds(lines: Iterable[Mapping[str, Any]], images_seen: int) -> float:
    """How long the first `images_seen` images of a run took to train, by the speeds in its log; 0 without a log."""
    seconds, before = 0.0, 0
    for line in lines:
        if line.get("images_per_second", 0) > 0 and before < line["images_seen"] <= images_seen:
            seconds += (line["images_seen"] - before) / line["images_per_second"]
            before = line["images_seen"]
    return seconds
