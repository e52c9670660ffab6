"""`limpid lab`: the lab in the browser. Its options are read without torch, so that the page is there at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import takewhile
from pathlib import Path

from limpid.cli.option_values import GivenOption, split_words, switch_word, whole_number, without_no

DEFAULT_RUNS = Path("runs")
"""Where the runs are looked for if none are named."""


@dataclass(frozen=True)
class LabOptions:
    """Serve the lab on this machine, and open it in the browser. Nothing leaves the machine."""

    images: tuple[str, ...] = ()
    """Folders, .zip or .npz files of images to add noise to, besides the digits and CIFAR-10."""
    port: int = 0
    """Port to serve at; 0 is any that is free."""
    browser: bool = True
    """Open the browser; else open the address that is printed."""


def default_options() -> dict[str, object]:
    """The options of the command, by what is typed before them."""
    return {"limpid lab [RUN ...]": LabOptions()}


def main(arguments: Sequence[str]) -> int:
    """`limpid lab [RUN ...] [options]`."""
    if {"--help", "-h"} & set(arguments):
        import_module("limpid.cli.main").print_help("lab", [])
        return 0
    runs = list(takewhile(lambda word: not word.startswith("-"), arguments))
    options = read_options(split_words(arguments[len(runs) :]))
    if missing := next((name for name in (*runs, *options.images) if not Path(name).exists()), ""):
        raise ValueError(f"no folder or file {missing}: name runs, folders of runs or checkpoints, or nothing")
    named = tuple(map(Path, runs)) or tuple(path for path in (DEFAULT_RUNS,) if path.is_dir())
    from limpid.lab.server import serve
    from limpid.lab.workspace import Workspace

    serve(Workspace(named, tuple(map(Path, options.images))), options.port, options.browser)
    return 0


def read_options(given: Sequence[GivenOption]) -> LabOptions:
    """The options. Raises ValueError, as the parser of the other commands does, for what is none."""
    options = LabOptions()
    for name, values in given:
        if name == "--port":
            if len(values) != 1:
                raise ValueError("--port needs one value")
            options = replace(options, port=int(whole_number(name, values[0])))
        elif without_no(name) == "--browser":
            options = replace(options, browser=switch_word(name, values) == "--browser")
        elif name == "--images":
            options = replace(options, images=(*options.images, *values))
        else:
            list_options = import_module("limpid.cli.option_list")
            known, possible = list_options.list_options(options), list_options.possible_options(LabOptions)
            raise ValueError(
                import_module("limpid.cli.unknown_option").unknown_option(name, known, possible, "limpid lab")
            )
    return options
