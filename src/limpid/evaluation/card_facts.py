"""The facts on a model card: the model, its training and its scores, as far as a run folder or a file records them."""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from limpid.data import Cifar10, Data, Digits, InMemory
from limpid.evaluation.report import EvalReport
from limpid.evaluation.report_file import reports_of
from limpid.interop.run_history import training_seconds
from limpid.recipes.recipe import Recipe
from limpid.recipes.registry import MAX_RECIPE_BYTES, RECIPES
from limpid.sampling.checkpoints import CheckpointInfo
from limpid.sampling.samples import Samples
from limpid.storage.jsonl import read_jsonl
from limpid.storage.regular_files import read_bytes


class DataFacts(NamedTuple):
    """A data set and its licence."""

    title: str
    licence: str
    """The identifier of the Hub."""
    licence_text: str
    hub_name: str = ""
    """Its name on the Hub, if it is there."""


CIFAR10_FACTS = DataFacts(
    "CIFAR-10 (Krizhevsky, 2009)",
    "unknown",
    "CIFAR-10 was published without a licence; its images were collected from the web.",
    "uoft-cs/cifar10",
)
DIGITS_FACTS = DataFacts(
    "Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998)",
    "cc-by-4.0",
    "The digits are licensed under CC BY 4.0, which asks to name their authors: E. Alpaydin and C. Kaynak, "
    "https://doi.org/10.24432/C50P49. They were resized.",
)
OWN_FACTS = DataFacts("images of its author's own", "unknown", "The licence of the training images is not recorded.")


def data_facts(data: Data) -> DataFacts:
    """The facts about a data set."""
    return CIFAR10_FACTS if isinstance(data, Cifar10) else DIGITS_FACTS if isinstance(data, Digits) else OWN_FACTS


@dataclass(frozen=True)
class TrainingCost:
    """The duration and the machine of a training run, as its folder records them."""

    seconds: float = 0.0
    """Time of all training steps; 0 if it is not known."""
    environment: Mapping[str, Any] | None = None
    """The content of environment.json; None without such a file."""


@dataclass(frozen=True)
class CardFacts:
    """The facts from which a model card is written."""

    repo: str
    """The repository, as in user/name."""
    about: CheckpointInfo
    """The metadata of the published file, with its sampling settings."""
    parameters: int
    samples: Samples
    """The samples on samples.png."""
    licence: str = ""
    """The licence that the author of the model has chosen; empty for that of the data."""
    cost: TrainingCost = TrainingCost()
    reports: tuple[EvalReport, ...] = ()
    """The evaluations of these weights, oldest first."""
    fine_tuned: bool = False
    """Whether training began with trained weights."""
    rounded: bool = True
    """Whether the weights were rounded to float16 for publication."""
    diffusers_call: str = ""
    """The Python that samples with diffusers; empty if no stock pipeline can."""

    @property
    def recipe(self) -> Recipe:
        """The recipe in the published file."""
        return self.about.recipe

    @property
    def name(self) -> str:
        """The name of the model, without its user."""
        return self.repo.rpartition("/")[2]


def training_cost(run: Path, images_seen: int) -> TrainingCost:
    """The cost of the first `images_seen` images of a run folder; unknown for any other path."""
    if not run.is_dir():
        return TrainingCost()
    try:
        plain = json.loads(read_bytes(run / "environment.json", MAX_RECIPE_BYTES))
    except (OSError, ValueError, RecursionError):
        plain = None
    seconds = training_seconds(read_jsonl(run / "log.jsonl"), images_seen)
    return TrainingCost(seconds, plain if isinstance(plain, dict) else None)


def reports_of_weights(path: Path, images_seen: int, weights: str) -> tuple[EvalReport, ...]:
    """The evaluations, oldest first, of the weights of a run or checkpoint after `images_seen` images."""
    try:
        reports = reports_of(path)
    except ValueError:
        return ()
    same = {"images seen": images_seen, "weights": weights}
    return tuple(report for report in reports if same.items() <= report.provenance.items())


def recipe_name(recipe: Recipe) -> str:
    """The name of the recipe that equals this one but for duration, seed, sampling and paths; empty if there is
    none."""
    for name, named in RECIPES.items():
        free = {field: getattr(recipe, field) for field in ("duration", "seed", "sampling", "every")}
        other = replace(named(), **free)
        if isinstance(recipe.data, InMemory) or type(other.data) is not type(recipe.data):
            continue
        paths = {field: getattr(recipe.data, field) for field in ("root", "workers") if hasattr(recipe.data, field)}
        if replace(other, data=replace(other.data, **paths)) == recipe:
            return name
    return ""


def stated_cost(name: str) -> str:
    """The cost in the docstring of a named recipe, in brackets; empty without a name."""
    text = inspect.cleandoc(RECIPES[name].__doc__ or "") if name else ""
    cost = text.partition("Cost: ")[2].partition(".")[0].replace("\n", " ")
    return f" (the recipe states {cost})" if cost else ""


def num_training_images(about: CheckpointInfo) -> int:
    """The number of training images; 0 if it is not recorded."""
    return about.data.images or sum(about.class_counts)
