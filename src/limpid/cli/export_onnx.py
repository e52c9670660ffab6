"""`limpid export onnx`: a folder that samples with onnxruntime, in Python or in a browser."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch

from limpid.cli.parser import FLATTEN, parse, positional
from limpid.interop.onnx import OnnxModel, export_onnx
from limpid.recipes.recipe import Sampling, preview_recipe
from limpid.runtime.device import Runtime
from limpid.runtime.terminal import echo
from limpid.sampling.checkpoints import find_checkpoint, output_folder
from limpid.sampling.pipeline import load_checkpoint
from limpid.sampling.sample import make_denoiser

HOW_TO_SAMPLE = """\
to sample with numpy and onnxruntime:
  python {folder}/draw.py --n 16 --out samples.png
to sample in a browser, at http://localhost:8000:
  npm install --prefix {folder} onnxruntime-web
  python -m http.server --directory {folder}"""


@dataclass(frozen=True)
class ExportOnnx:
    """Write a model as ONNX, its sampler as a table of numbers, and two programs that sample: draw.py and a page."""

    out: Path
    """The folder to write."""
    sampling: Annotated[Sampling, FLATTEN]
    more_steps: tuple[int, ...] = ()
    """Further numbers of steps that these programs offer; with a sampler of more than 50 steps, DDIM in 50 is one."""
    weights: Literal["ema", "raw"] = "ema"
    """The EMA of the weights, or the raw weights of the last step."""


def default_options() -> dict[str, object]:
    """The default options of the command, by the words that come before them."""
    return {"limpid export onnx RUN": ExportOnnx(Path("RUN/onnx"), Sampling())}


def main(arguments: Sequence[str]) -> int:
    """`limpid export onnx RUN [options]`."""
    name, rest = positional("export onnx", "RUN", arguments)
    ref = find_checkpoint(name)
    default = ExportOnnx(output_folder(Path(name)) / "onnx", ref.about.recipe.sampling)
    options = parse(default, rest, f"limpid export onnx {name}")
    pipeline = load_checkpoint(ref, Runtime("cpu", "float32"), options.weights)
    pipeline = pipeline.with_sampling(options.sampling).with_guide()
    model, recipe = pipeline.model, pipeline.recipe
    labels = torch.tensor([0]) if pipeline.class_names else None
    # Raises ValueError for guidance that this network cannot have.
    make_denoiser(model, recipe, labels, pipeline.runtime, pipeline.guide)
    others = [replace(recipe.sampling, steps=steps) for steps in options.more_steps]
    if preview_recipe(recipe) != recipe:
        others.append(preview_recipe(recipe).sampling)
    echo("tracing the network, which takes about a minute", to_stderr=True)
    exported = OnnxModel(model, recipe, pipeline.image_shape, pipeline.class_names, pipeline.guide)
    for file in export_onnx(exported, options.out, others):
        echo(file)
    echo(HOW_TO_SAMPLE.format(folder=options.out), to_stderr=True)
    return 0
