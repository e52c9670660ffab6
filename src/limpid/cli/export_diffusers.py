"""`limpid export diffusers`: a folder that a stock pipeline of diffusers loads and samples the same images from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from limpid.cli.parser import FLATTEN, parse, positional
from limpid.interop.diffusers_folder import diffusers_reasons, pipeline_call, write_diffusers_folder
from limpid.recipes.recipe import Sampling
from limpid.recipes.serialize import to_dict
from limpid.runtime.device import Runtime
from limpid.runtime.terminal import echo
from limpid.sampling.checkpoints import find_checkpoint, load_model, output_folder
from limpid.sampling.labels import balanced_labels
from limpid.sampling.sample import noise_seed

SHOWN_SAMPLES = 4
"""Samples of the call that is printed."""


@dataclass(frozen=True)
class ExportDiffusers:
    """Write a model as a folder of diffusers. Its pipeline samples by the settings below, which diffusers must have."""

    out: Path
    """The folder to write."""
    sampling: Annotated[Sampling, FLATTEN]
    weights: Literal["ema", "raw"] = "ema"
    """The EMA of the weights, or the raw weights of the last step."""


def default_options() -> dict[str, object]:
    """The default options of the command, by the words that come before them."""
    return {"limpid export diffusers RUN": ExportDiffusers(Path("RUN/diffusers"), Sampling())}


def main(arguments: Sequence[str]) -> int:
    """`limpid export diffusers RUN [options]`."""
    name, rest = positional("export diffusers", "RUN", arguments)
    ref = find_checkpoint(name)
    default = ExportDiffusers(output_folder(Path(name)) / "diffusers", ref.about.recipe.sampling)
    options = parse(default, rest, f"limpid export diffusers {name}")
    recipe, shape = replace(ref.about.recipe, sampling=options.sampling), ref.about.image_shape
    if reasons := diffusers_reasons(recipe, shape):
        other = f"limpid export onnx {name} takes every network, and every sampler but Dopri5"
        raise ValueError(f"no stock pipeline of diffusers samples {name} as it is: {'; '.join(reasons)}; {other}")
    model = load_model(ref, Runtime("cpu", "float32").resolve(), options.weights)
    metadata = to_dict(replace(ref.about, recipe=recipe))
    classes = len(ref.about.class_names)
    mapping = write_diffusers_folder(options.out, model.net.state_dict(), recipe, shape, classes, metadata)
    labels = balanced_labels(SHOWN_SAMPLES, classes) if recipe.class_conditional else None
    seeds = [noise_seed(seed) for seed in range(SHOWN_SAMPLES)]
    echo(options.out)
    echo(f"the samples of seeds 0 to {SHOWN_SAMPLES - 1}, in Python:")
    echo(f"  {pipeline_call(mapping, options.out, seeds, labels)}")
    return 0
