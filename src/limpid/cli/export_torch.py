"""`limpid export torch`: the denoiser as a program of torch.export."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from limpid.cli.inputs import output_file
from limpid.cli.parser import parse, positional
from limpid.interop.torch_export import save_torch_program
from limpid.runtime.device import Runtime
from limpid.runtime.terminal import echo
from limpid.sampling.checkpoints import find_checkpoint, output_folder
from limpid.sampling.pipeline import load_checkpoint

CALL = """\
torch.export.load({file!r}).module()(x, alpha, sigma{labels}) is E[x0 | x] for x = alpha x0 + sigma eps:
x (n, {shape}) in float32; alpha and sigma (n) in float64{label_shape}"""


@dataclass(frozen=True)
class ExportTorch:
    """Write the denoiser of a model as a program of torch.export, which runs without limpid."""

    out: Path
    """The file to write."""
    weights: Literal["ema", "raw"] = "ema"
    """The EMA of the weights, or the raw weights of the last step."""


def default_options() -> dict[str, object]:
    """The default options of the command, by the words that come before them."""
    return {"limpid export torch RUN": ExportTorch(Path("RUN/denoiser.pt2"))}


def main(arguments: Sequence[str]) -> int:
    """`limpid export torch RUN [options]`."""
    name, rest = positional("export torch", "RUN", arguments)
    ref = find_checkpoint(name)
    default = ExportTorch(output_folder(Path(name)) / "denoiser.pt2")
    options = parse(default, rest, f"limpid export torch {name}")
    pipeline = load_checkpoint(ref, Runtime("cpu", "float32"), options.weights)
    echo("tracing the network, which takes up to a minute", to_stderr=True)
    file = save_torch_program(pipeline.model, pipeline.image_shape, output_file(options.out, "denoiser.pt2"))
    echo(file)
    shape, classes = ", ".join(map(str, pipeline.image_shape)), len(pipeline.class_names)
    labels = (", labels", f"; labels (n) in int64, 0 to {classes - 1}") if classes else ("", "")
    echo(CALL.format(file=str(file), shape=shape, labels=labels[0], label_shape=labels[1]), to_stderr=True)
    return 0
