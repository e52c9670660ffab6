"""`limpid --help` and `limpid recipes`."""

import time

import pytest

from limpid.cli.main import COMMANDS, main
from limpid.recipes.registry import RECIPES


def test_help_is_printed_at_once_and_names_every_command(capsys):
    begin = time.perf_counter()
    assert main([]) == main(["--help"]) == 0
    assert time.perf_counter() - begin < 0.1
    output = capsys.readouterr().out
    assert all(f"limpid {verb}" in output for verb in COMMANDS)


@pytest.mark.parametrize("verb", COMMANDS)
def test_the_help_of_a_command_shows_that_command_alone(verb, capsys):
    assert main([verb, "-h"]) == 0
    output = capsys.readouterr().out
    assert output.count(f"\n  limpid {verb} ") == 1
    assert not any(f"\n  limpid {other} " in output for other in COMMANDS if other != verb)


def test_help_does_not_import_torch():
    import subprocess
    import sys

    code = "import sys; from limpid.cli.main import COMMANDS, main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def test_every_recipe_is_listed_with_its_cost(capsys):
    assert main(["recipes"]) == 0
    output = capsys.readouterr().out
    assert all(name in output for name in RECIPES)
    assert output.count("Cost:") == len(set(RECIPES.values())), "a recipe of two names is listed once"
