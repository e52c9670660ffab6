"""`limpid export`: a trained model for other programs; each format has its own file in this folder."""

from collections.abc import Sequence
from importlib import import_module

from limpid.cli.parser import choose_first, positional

FORMATS = {
    "diffusers": "export_diffusers",
    "onnx": "export_onnx",
    "torch": "export_torch",
    "hub": "export_hub",
    "tensorboard": "export_tensorboard",
}
"""The file in `limpid.cli` for each format; its `main` takes the words from RUN on."""


def default_options() -> dict[str, object]:
    """The default options of the command, by the words that come before them."""
    files = [import_module(f"limpid.cli.{file}") for file in FORMATS.values()]
    return {program: options for file in files for program, options in file.default_options().items()}


def main(arguments: Sequence[str]) -> int:
    """`limpid export WHAT RUN [options]`."""
    what, rest = positional("export", "format and a RUN", arguments, f"{'|'.join(FORMATS)} RUN")
    return import_module(f"limpid.cli.{FORMATS[choose_first('export', 'format', what, FORMATS)]}").main(rest)
