"""`limpid edit`: change real images with a trained model."""

from collections.abc import Sequence
from pathlib import Path

from limpid.cli.edit_sheets import EDITS, Edit
from limpid.cli.edit_sheets import edit_sheet as change
from limpid.cli.parser import parse, positional
from limpid.recipes.serialize import match_choice
from limpid.runtime.device import Runtime
from limpid.runtime.terminal import echo
from limpid.sampling.load import find_checkpoint, load_checkpoint, output_folder
from limpid.sampling.training_data import data_of_run

FORMER_EDITS = {"vary": "img2img", "sdedit": "img2img"}
"""Other names of edits: that of limpid 0.1, and that of the paper (Meng et al. 2022)."""


def default_options() -> dict[str, object]:
    """The options of the command, by what is typed before them."""
    return {"limpid edit WHAT RUN": Edit(Path("RUN/WHAT.png"))}


def main(arguments: Sequence[str]) -> int:
    """`limpid edit WHAT RUN [options]`."""
    what, rest = positional("edit", f"WHAT ({', '.join(EDITS)}) and a RUN", arguments)
    what = match_choice("edit", FORMER_EDITS.get(what, what), EDITS)
    name, rest = positional(f"edit {what}", "RUN", rest)
    options = parse(Edit(output_folder(Path(name)) / f"{what}.png"), rest, f"limpid edit {what} {name}")
    runtime, ref = Runtime().resolved().configure_process(), find_checkpoint(name)
    pipeline = load_checkpoint(ref, runtime)
    if options.data.root or any(word.isdecimal() for word in options.pictures):
        pipeline = pipeline.on(data_of_run(ref.about, options.data.root, name))
    echo(change(what, pipeline, options, runtime))
    return 0
