"""The command `limpid`: names a verb and hands it the rest.

Nothing heavy is imported before the verb is known, so that `limpid --help` answers at once.
"""

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from limpid.runtime.terminal import echo

COMMANDS = {
    "train": "train",
    "sample": "sample",
    "edit": "edit",
    "show": "show",
    "evaluate": "evaluate",
    "compare": "compare",
    "likelihood": "likelihood",
    "average": "posthoc_ema",
    "bench": "bench",
    "recipes": "recipes",
}
"""The file of each command, in `limpid.cli`; its `main` does it."""
DISTRIBUTED_COMMANDS = ("train", "sample", "evaluate")
"""The commands that several processes may do together."""
ADVICE = dict.fromkeys(
    (errno.ENOSPC, errno.EDQUOT), "; free some room there, or name another folder: nothing that was saved is lost"
)
"""What to do about an error of the system, by its number."""
SILENT: dict[type[Exception], str] = {MemoryError: "there is not enough memory: a smaller --batch-size needs less"}
"""What to say for errors that come without a word."""

USAGE = """\
limpid: train diffusion models from scratch on small images

  limpid train RECIPE [options]       train, or go on where the run stopped
  limpid sample RUN [options]         draw new pictures
  limpid edit WHAT RUN [options]      change real pictures: inpaint, vary, invert or interpolate
  limpid show WHAT RECIPE [options]   draw the process itself: forward, schedule or data;
                                      with a RUN for the recipe also trajectory or loss
  limpid evaluate RUN [options]       score its pictures against real ones; also a folder, .zip or .npz
  limpid compare A B                  the scores of two runs, and which differences are more than noise
  limpid likelihood RUN [options]     bits per dimension of real pictures
  limpid average RUN --std 0.1        an average of the weights of another length, after the run
  limpid bench RECIPE [options]       what it costs here: images per second, memory, share of the peak
  limpid recipes                      what there is to train, and what it costs

RECIPE is a name from `limpid recipes`, a .toml or .json file, or a run folder.
RUN is a run folder, or a checkpoint in one.
`limpid VERB RECIPE --help` lists all options. Documentation: README.md
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; a mistake of the user's gets one line and exit code 2, a run that failed 1."""
    verb, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    if verb in ("--help", "-h", "help"):
        echo(USAGE, end="")
        return 0
    try:
        if verb == "--version":
            echo(f"limpid {import_module('limpid').__version__}")
            return 0
        verb = import_module("limpid.recipes.serialize").match_choice("command", verb, COMMANDS)
        if rest[:1] in (["--help"], ["-h"]):
            echo(command_usage(verb), end="")
            return 0
        act = import_module(f"limpid.cli.{COMMANDS[verb]}").main
        with import_module("limpid.runtime.distributed").distributed_session(allowed=verb in DISTRIBUTED_COMMANDS):
            code = act(rest)
            if verb != "train" and sys.stdout is not None:  # whose result is its folder, not what it prints
                sys.stdout.flush()
            return code
    except (ValueError, FloatingPointError, OSError, MemoryError) as error:
        if isinstance(error, BrokenPipeError) and verb != "train":
            return 0  # whoever read the output has stopped, as `| head` does
        if "LIMPID_DEBUG" in os.environ:
            raise
        with suppress(OSError):
            echo(f"limpid: {said(error)}", to_stderr=True)
        names_nothing = getattr(error, "errno", 0) in (errno.ENAMETOOLONG, errno.ELOOP)
        return 2 if isinstance(error, ValueError) or names_nothing else 1
    except KeyboardInterrupt:
        return 130
    finally:
        import_module("limpid.runtime.output").discard_unwritten()


def said(error: Exception) -> str:
    """An error in one line: of the system's the file that it names first, and what can be done about it."""
    if not isinstance(error, OSError) or error.filename is None or error.strerror is None:
        return " ".join(str(error).splitlines()) or SILENT.get(type(error), type(error).__name__)
    return f"{os.fsdecode(error.filename)}: {error.strerror}{ADVICE.get(error.errno or 0, '')}"


def command_usage(verb: str) -> str:
    """What the usage says of one command, and of the names that it begins with."""
    head, commands, names = USAGE.split("\n\n")
    own = [f"  limpid {part}" for part in f"\n{commands}".split("\n  limpid ") if part.split()[:1] == [verb]]
    return "\n\n".join([head, "\n".join(own), names])
