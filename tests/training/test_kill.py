"""A run that is killed again and again, at any moment, ends as the one that never was: nobody can tell afterwards."""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from killable import born, logged
from tiny_recipes import FULL

from limpid.recipes.recipe import Every
from limpid.storage import checkpoint, jsonl

KILLS = 20
LONG = replace(FULL, duration=960, every=Every(log=32, sample=320, save=64, snapshot=320, milestone=512))


def left(folder: Path) -> dict[str, object]:
    """All that a run leaves, but for clocks: every file by its name, with what is in it."""
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    assert not [name for name in files if name.suffix in (".part", ".broken")]
    content: dict[str, object] = {}
    for name, path in files.items():
        if path.suffix == ".safetensors":
            content[f"{name}"] = checkpoint.read_data(path)
            content |= {f"{name}:{key}": value for key, value in checkpoint.read_tensors(path).items()}
        elif path.suffix == ".jsonl":
            assert path.read_bytes().count(b"\n") == len(jsonl.read_jsonl(path))
            lines = jsonl.read_jsonl(path)
            content[f"{name}"] = [line | {"images_per_second": None} for line in lines]
        elif path.name != "environment.json":
            content[f"{name}"] = path.read_bytes()
    return content


def equal(a: object, b: object) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b


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
    one, other = left(straight), left(killed)
    assert one.keys() == other.keys()
    assert [name for name in one if not equal(one[name], other[name])] == []
