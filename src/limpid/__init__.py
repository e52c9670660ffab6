"""limpid: train diffusion models from scratch on small images, and sample from them.

    import limpid

    limpid.load("cifar10-small").sample(16, labels="horse").grid().save("horses.png")
    limpid.train(limpid.recipe("small"), "photos/", run="runs/photos").sample(64)

What is listed in `__all__` is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limpid.evaluation.api import evaluate
    from limpid.evaluation.compare import compare
    from limpid.evaluation.likelihood import bits_per_dim
    from limpid.evaluation.report import EvalReport
    from limpid.recipes.recipe import Recipe
    from limpid.recipes.registry import recipe
    from limpid.runtime.device import Runtime
    from limpid.sampling.pipeline import Pipeline, load
    from limpid.sampling.samples import Samples
    from limpid.training.api import train, train_steps
    from limpid.training.callbacks import Callback
    from limpid.training.training import Training
    from limpid.viz import show

__version__ = "0.2.0"

HOMES = {
    "load": "limpid.sampling.pipeline",
    "recipe": "limpid.recipes.registry",
    "train": "limpid.training.api",
    "train_steps": "limpid.training.api",
    "evaluate": "limpid.evaluation.api",
    "compare": "limpid.evaluation.compare",
    "bits_per_dim": "limpid.evaluation.likelihood",
    "Recipe": "limpid.recipes.recipe",
    "Pipeline": "limpid.sampling.pipeline",
    "Samples": "limpid.sampling.samples",
    "Runtime": "limpid.runtime.device",
    "Training": "limpid.training.training",
    "Callback": "limpid.training.callbacks",
    "EvalReport": "limpid.evaluation.report",
    "show": "limpid.viz.show",
}
"""The module that each name is imported from, or that it is."""
__all__ = [
    "Callback",
    "EvalReport",
    "Pipeline",
    "Recipe",
    "Runtime",
    "Samples",
    "Training",
    "bits_per_dim",
    "compare",
    "evaluate",
    "load",
    "recipe",
    "show",
    "train",
    "train_steps",
]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'limpid' has no attribute {name!r}")
    module = import_module(HOMES[name])
    value = module if name == "show" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
