"""Which recipes and which data may resume or extend a run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_results import log_without_speed, same_weights
from tiny_recipes import CPU, FULL, TINY

from limpid.data import Folder
from limpid.diffusion.guidance import Guidance
from limpid.recipes.recipe import Recipe
from limpid.storage import checkpoint
from limpid.training.run import run

pytestmark = pytest.mark.usefixtures("no_final_figures")


def test_another_recipe_is_refused_in_the_folder_of_a_run(finished: Path):
    with pytest.raises(
        ValueError, match=r"another recipe \(batch_size 16 -> 8, schedule.mean -1.2 -> 0.0\): name another"
    ):
        run(replace(FULL, batch_size=8, schedule=replace(FULL.schedule, mean=0.0)), finished, CPU)


def test_a_run_is_not_resumed_where_its_labels_mean_other_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path / "cache"))
    pixels = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), np.uint8)

    def recipe_of(*names: str, images: int = 16, conditional: bool = True) -> Recipe:
        np.savez(tmp_path / "a.npz", images=pixels, labels=np.arange(32) % len(names), class_names=np.array(names))
        data = Folder(str(tmp_path / "a.npz"), size=8, channels="L", held_out=0)
        sampling = TINY.sampling if conditional else replace(TINY.sampling, guidance=Guidance())
        constant = replace(TINY.optimizer, lr_schedule="none")
        return replace(
            TINY,
            data=data,
            duration=images,
            batch_size=16,
            optimizer=constant,
            class_conditional=conditional,
            sampling=sampling,
        )

    assert run(recipe_of("cat", "dog", "emu"), tmp_path / "run", CPU)
    for names, message in (
        (("cat", "doe", "emu"), "was trained with 3 classes, and the data has 3: class 1 was 'dog' and is 'doe'"),
        (("dog", "cat", "emu"), "was trained with 3 classes, and the data has 3: class 0 was 'cat' and is 'dog'"),
        (("cat", "dog"), "was trained with 3 classes, and the data has 2: class 2 was 'emu' and is none"),
        (("cat", "dog", "emu", "fox"), "was trained with 3 classes, and the data has 4: class 3 was none and is 'fox'"),
    ):
        with pytest.raises(ValueError, match=message):
            run(recipe_of(*names, images=32), tmp_path / "run", CPU)
    assert run(recipe_of("cat", "dog", "emu", images=32), tmp_path / "run", CPU)
    assert run(recipe_of("cat", "dog", conditional=False), tmp_path / "unconditional", CPU)
    assert run(recipe_of("cat", "emu", images=32, conditional=False), tmp_path / "unconditional", CPU)


def test_extending_a_run_at_a_constant_learning_rate_changes_no_bit(tmp_path: Path):
    constant = replace(FULL, duration=96, optimizer=replace(FULL.optimizer, lr_schedule="none"))
    assert run(constant, tmp_path / "twice", CPU)
    for folder in ("once", "twice"):
        assert run(replace(constant, duration=128), tmp_path / folder, CPU)
    assert [line["images_seen"] for line in log_without_speed(tmp_path / "twice")] == [32, 64, 96, 128]
    assert same_weights(tmp_path / "once", tmp_path / "twice")


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_a_decayed_run_is_extended_only_where_its_jump_in_learning_rate_is_allowed(decay, tmp_path: Path):
    short = replace(FULL, duration=64, optimizer=replace(FULL.optimizer, lr_schedule=decay))
    longer = replace(short, duration=128)
    run(short, tmp_path, CPU)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    with pytest.raises(ValueError, match=r"planned for 64 images.* jump from 0 to 0.01 after 64: .*--allow-rewarm"):
        run(longer, tmp_path, CPU)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == before
    assert run(longer, tmp_path, CPU, allow_rewarm=True)
    assert run(longer, tmp_path, CPU)  # its recipe now has the longer duration
    assert [line["images_seen"] for line in log_without_speed(tmp_path)] == [32, 64, 96, 128]


def test_a_run_without_a_training_step_may_be_extended(tmp_path: Path):
    run(replace(FULL, duration=32), tmp_path, CPU)
    for file in checkpoint.list_checkpoints(tmp_path / "checkpoints")[1:]:
        file.unlink()
    assert run(replace(FULL, duration=64), tmp_path, CPU)
