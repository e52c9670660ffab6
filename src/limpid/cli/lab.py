"""`limpid lab`: the lab in the browser. Its options are read without torch, so that the page opens at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import takewhile
from pathlib import Path

from limpid.cli.option_values import SWITCH, GivenOption, split_words, switch_word, whole_number, without_no


@dataclass(frozen=True)
class LabOptions:
    """Serve the lab on this machine, and open it in the browser. Nothing leaves the machine."""

    images: tuple[str, ...] = ()
    """Folders, .zip or .npz files of images to add noise to, besides the digits and CIFAR-10."""
    port: int = 0
    """Port to serve at; 0 chooses a free one."""
    browser: bool = True
    """Open the browser; without it, open the printed address yourself."""


def default_options() -> dict[str, object]:
    """The default options of the command, by the words that come before them."""
    return {"limpid lab [RUN ...]": LabOptions()}


def main(arguments: Sequence[str]) -> int:
    """`limpid lab [RUN ...] [options]`."""
    if {"--help", "-h"} & set(arguments):
        import_module("limpid.cli.main").print_help("lab", [])
        return 0
    first = list(takewhile(lambda word: not word.startswith("-"), arguments))
    more, options = read_options(split_words(arguments[len(first) :]))
    runs = [*first, *more]
    if missing := next((name for name in (*runs, *options.images) if not Path(name).exists()), ""):
        raise ValueError(f"no folder or file {missing}: name runs, folders of runs or checkpoints, or nothing")
    from limpid.lab.server import serve
    from limpid.lab.workspace import DEFAULT_RUNS, Workspace

    named = tuple(map(Path, runs))
    folders = (path for path in named if path.is_dir() and not (path / "recipe.json").exists())
    workspace = Workspace(named, tuple(map(Path, options.images)), next(folders, DEFAULT_RUNS))
    serve(workspace, options.port, options.browser)
    return 0


def read_options(given: Sequence[GivenOption]) -> tuple[list[str], LabOptions]:
    """The runs that follow an option of one value or none, and the options.

    Raises ValueError, as the parser of the other commands does, for what is no option.
    """
    runs: list[str] = []
    options = LabOptions()
    for name, values in given:
        if name == "--port":
            if not values:
                raise ValueError("--port needs a value")
            options = replace(options, port=int(whole_number(name, values[0])))
            runs += values[1:]
        elif without_no(name) == "--browser":
            own = 1 if values and values[0].lower() in SWITCH else 0
            options = replace(options, browser=switch_word(name, values[:own]) == "--browser")
            runs += values[own:]
        elif name == "--images":
            options = replace(options, images=(*options.images, *values))
        else:
            raise ValueError(no_such_option(name))
    return runs, options


def no_such_option(name: str) -> str:
    """One line for an unknown option, with the nearest option."""
    list_options = import_module("limpid.cli.option_list")
    known, possible = list_options.list_options(LabOptions()), list_options.possible_options(LabOptions)
    return import_module("limpid.cli.unknown_option").unknown_option(name, known, possible, "limpid lab")
