"""The command `limpid`: finds the subcommand and calls its `main`.

Nothing heavy is imported before the subcommand is known, so that `limpid --help` answers at once.
"""

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from limpid.runtime.errors import error_line
from limpid.runtime.output import discard_unwritten, reader_has_gone
from limpid.runtime.terminal import echo

COMMANDS = {
    "train": "train",
    "sample": "sample",
    "edit": "edit",
    "show": "show",
    "evaluate": "evaluate",
    "compare": "compare",
    "likelihood": "likelihood",
    "posthoc-ema": "posthoc_ema",
    "lab": "lab",
    "bench": "bench",
    "export": "export",
    "import": "import_model",
    "recipes": "recipes",
}
"""The file of each command in `limpid.cli`; its `main` runs the command."""
FORMER_COMMANDS = {"average": "posthoc-ema"}
"""The names of commands in 0.1, which still work."""
FOREIGN_COMMANDS = {
    "fit": "train RECIPE",
    "finetune": "train RECIPE --init MODEL",
    "generate": "sample RUN",
    "eval": "evaluate RUN",
    "fid": "evaluate RUN",
    "inpaint": "edit inpaint RUN",
    "img2img": "edit img2img RUN",
    "interpolate": "edit interpolate RUN",
    "convert": "import PATH, or limpid export WHAT RUN",
}
"""The names of commands in other programs, with what to type."""
DISTRIBUTED_COMMANDS = ("train", "sample", "evaluate")
"""The commands that several processes may run together, under torchrun."""
WITHOUT_TORCH = ("lab",)
"""The commands that start without torch, whose import takes seconds."""
NESTED_COMMANDS = ("show", "export")
"""The commands whose first word chooses the options."""

USAGE = """\
limpid: train diffusion models from scratch on small images

  limpid train RECIPE [options]      train a recipe, or continue its run
  limpid sample RUN [options]        generate samples: a grid, images or arrays
  limpid edit WHAT RUN [options]     edit real images: WHAT is inpaint, img2img,
                                     invert or interpolate
  limpid show WHAT RECIPE [options]  figures: forward, schedule or data of a
                                     recipe, trajectory or loss of a RUN
  limpid evaluate RUN [options]      FID and other metrics of its samples, or of
                                     a folder, .zip or .npz of images
  limpid compare A B                 the metrics of two runs, and which of their
                                     differences exceed the noise
  limpid likelihood RUN [options]    bits per dimension of real images
  limpid posthoc-ema RUN --std 0.1   the EMA of another length, after training
  limpid lab [RUN ...]               a page in the browser: see the noise levels,
                                     train, sample, edit and compare
  limpid bench RECIPE [options]      images per second, memory and FLOPs of a
                                     recipe on this machine
  limpid export WHAT RUN [options]   write the model for diffusers, onnx, torch,
                                     hub (Hugging Face) or tensorboard
  limpid import PATH --run DIR       a model of diffusers, OpenAI, pytorch-ddpm,
                                     score_sde or EDM becomes a run folder
  limpid recipes                     all recipes, with their scores and costs

RECIPE is a name from `limpid recipes`, a .toml or .json file, or a run folder.
RUN is a run folder, a checkpoint in one, a network that comes with limpid
(cifar10-small, cifar10-64-small), a model of another program (a folder of
diffusers), or a model of the Hugging Face Hub (hf:user/name).
`limpid VERB --help` lists the options of a command, and
`limpid VERB RECIPE --help` shows the defaults of a recipe or run.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 2 after one line for a mistake of the user, 1 for a run that failed."""
    verb, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    try:
        if verb in ("--help", "-h", "help"):
            echo(USAGE, end="")
            return 0
        if verb == "--version":
            echo(f"limpid {import_module('limpid').__version__}")
            return 0
        if meant := FOREIGN_COMMANDS.get(verb):
            raise ValueError(f"no command {verb!r}: it is limpid {meant}")
        verb = FORMER_COMMANDS.get(verb, verb)
        verb = import_module("limpid.recipes.serialize").match_choice("command", verb, COMMANDS)
        if asks_for_help(verb, rest):
            print_help(verb, rest[:-1])
            return 0
        act = import_module(f"limpid.cli.{COMMANDS[verb]}").main
        if verb in WITHOUT_TORCH:
            return act(rest)
        session = import_module("limpid.runtime.distributed").distributed_session(allowed=verb in DISTRIBUTED_COMMANDS)
        with session, import_module("limpid.runtime.log").printed_log():
            code = act(rest)
            if verb != "train" and sys.stdout is not None:  # the result of train is its folder, not what it prints
                sys.stdout.flush()
            return code
    except (ValueError, FloatingPointError, OSError, MemoryError) as error:
        if isinstance(error, BrokenPipeError) and reader_has_gone():
            return 0  # as after `| head`
        if "LIMPID_DEBUG" in os.environ:
            raise
        with suppress(OSError):
            echo(f"limpid: {error_line(error)}", to_stderr=True)
        no_such_name = getattr(error, "errno", 0) in (errno.ENAMETOOLONG, errno.ELOOP)
        return 2 if isinstance(error, ValueError) or no_such_name else 1
    except KeyboardInterrupt:
        return 130
    finally:
        discard_unwritten()


def asks_for_help(verb: str, words: Sequence[str]) -> bool:
    """Whether the first argument asks for help, instead of being a recipe, a run or images."""
    names = 2 if verb in (*NESTED_COMMANDS, "edit", "compare") else 1
    return words[-1:] in (["--help"], ["-h"]) and len(words) <= names


def print_help(verb: str, names: Sequence[str]) -> None:
    """Print the usage of a command and all its options, with the defaults of the default recipe."""
    echo(command_usage(verb))
    parse = import_module("limpid.cli.parser").parse
    for program, default in import_module(f"limpid.cli.{COMMANDS[verb]}").default_options().items():
        if verb not in NESTED_COMMANDS or program.split()[2 : 2 + len(names)] == list(names):
            with suppress(SystemExit):
                parse(default, ["--help"], program)


def command_usage(verb: str) -> str:
    """The lines of the usage about one command, and what RECIPE and RUN are."""
    head, commands, names = USAGE.split("\n\n")
    own = [f"  limpid {part}" for part in f"\n{commands}".split("\n  limpid ") if part.split()[:1] == [verb]]
    return "\n\n".join([head, "\n".join(own), names])
