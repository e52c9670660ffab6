"""A run that is killed again and again, at any moment, ends as the one that never was: nobody can tell afterwards."""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from killable import born, logged
from run_results import equal_content, files_of_run
from tiny_recipes import FULL

from limpid.recipes.recipe import Every

KILLS = 20
LONG = replace(FULL, duration=960, every=Every(log=32, sample=320, save=64, snapshot=320, milestone=512))


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_run_killed_twenty_times_is_the_run_that_never_was(tmp_path: Path):
    straight, killed, output = tmp_path / "straight" / "run", tmp_path / "killed" / "run", tmp_path / "said.txt"
    begin = time.monotonic()
    life = born(LONG, straight, output)
    life.join()
    step = (time.monotonic() - begin) * LONG.batch_size / LONG.duration
    assert life.exitcode == 0

    draw, reached = random.Random(0), []
    for kill, place in enumerate(sorted(draw.sample(range(0, LONG.duration - 320, 32), KILLS))):
        how = ("as it opens", "as it writes", "at any time")[kill % 3]
        touches = {"as it opens": draw.randint(1, 45), "as it writes": draw.randint(1, 40), "at any time": 0}[how]
        life = born(LONG, killed, output, 0 if how == "as it opens" else place, touches)
        if how == "at any time":
            wait_until(lambda place=place: logged(killed) >= place)
            time.sleep(draw.uniform(0, 2 * step))
            life.kill()
        life.join()
        assert life.exitcode == -9, output.read_text()
        reached.append(logged(killed))
    assert len(set(reached)) > KILLS // 3, f"it was killed at too few places: {reached}"
    life = born(LONG, killed, output)
    life.join()
    assert life.exitcode == 0
    one, other = files_of_run(straight), files_of_run(killed)
    assert one.keys() == other.keys()
    assert [name for name in one if not equal_content(one[name], other[name])] == []
