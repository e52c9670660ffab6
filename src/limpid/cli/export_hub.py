"""`limpid export hub`: a folder ready for the Hugging Face Hub, and its push."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from limpid.cli.parser import FLATTEN, parse, positional
from limpid.evaluation.hub_folder import write_hub_folder
from limpid.interop.hub_push import check_push, push
from limpid.recipes.recipe import Sampling
from limpid.runtime.device import Runtime
from limpid.runtime.terminal import echo
from limpid.sampling.checkpoints import find_checkpoint, output_folder
from limpid.storage.hub import HUB_PREFIX

LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True)
class ExportHub:
    """Write a model for the Hugging Face Hub, with a model card: its samples, how to use it, its training and scores.

    A reader of the card samples from it with `limpid sample hf:user/name`.
    """

    out: Path
    """The folder to write."""
    sampling: Annotated[Sampling, FLATTEN]
    runtime: Annotated[Runtime, FLATTEN] = Runtime()
    push: str = ""
    """Also upload it to this repository, user/name, which is created if there is none."""
    private: bool = False
    """Create the repository as one that only you can see."""
    licence: str = ""
    """The licence of the model by its name on the Hub, as in cc-by-4.0; if not given, that of the data."""
    weights: Literal["ema", "raw"] = "ema"
    """The EMA of the weights, or the raw weights of the last step."""


def default_options() -> dict[str, object]:
    """The default options of the command, by the words that come before them."""
    return {"limpid export hub RUN": ExportHub(Path("RUN/hub"), Sampling())}


def main(arguments: Sequence[str]) -> int:
    """`limpid export hub RUN [options]`."""
    name, rest = positional("export hub", "RUN", arguments)
    ref = find_checkpoint(name)
    default = ExportHub(output_folder(Path(name)) / "hub", ref.about.recipe.sampling)
    options = parse(default, rest, f"limpid export hub {name}")
    if options.licence and not LICENCE.fullmatch(options.licence):
        raise ValueError(
            f"--licence {options.licence}: expected a name as on the Hub, like apache-2.0, cc-by-4.0, other"
        )
    if options.push:
        check_push(options.push)
    elif options.private:
        raise ValueError("--private needs a repository: name it with --push user/name")
    repo = options.push or f"user/{repository_name(name)}"
    written = write_hub_folder(
        options.out,
        Path(name),
        ref,
        repo,
        options.sampling,
        options.runtime.resolve().setup(),
        options.licence,
        options.weights,
    )
    echo(options.out)
    if written.diffusers_reasons:
        echo(f"without the files of diffusers: {'; '.join(written.diffusers_reasons)}", to_stderr=True)
    if options.push:
        echo(push(options.out, written.files, options.push, options.private))
        echo(f"to sample from it: limpid sample {HUB_PREFIX}{options.push}", to_stderr=True)
    else:
        echo(f"its card names {repo}: --push user/name writes the real name, and uploads the folder", to_stderr=True)
    return 0


def repository_name(run: str) -> str:
    """A name for the repository of a run: the end of its path, without characters that such a name cannot have."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(run).resolve().stem).strip("-.") or "model"
