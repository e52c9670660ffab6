"""What a run writes by the clock: an early sample grid, a checkpoint every ten minutes. They change nothing else."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from process_group import together
from run_results import log_without_speed, same_weights
from tiny_recipes import CPU, FULL

from limpid.recipes.recipe import Every
from limpid.sampling import figures
from limpid.storage import checkpoint
from limpid.training.active_run import Run
from limpid.training.callbacks import Callback
from limpid.training.checkpointing import Checkpoints
from limpid.training.loop import StepMetrics
from limpid.training.run import run
from limpid.training.training import Training

pytestmark = pytest.mark.usefixtures("no_final_figures")
RARE = replace(FULL, every=Every(log=32, sample=128, save=0, snapshot=0))
"""Ten steps of 16 images, with a sample grid at the eighth, and no checkpoint before the end."""


@pytest.fixture(scope="module", autouse=True)
def complete_grids() -> Iterator[None]:
    """No grid leaves images out because the machine is busy: grids of two runs are compared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "seconds_per_image", lambda *_: 1e-6)
        yield


def slow_clock(seconds: float, patch: pytest.MonkeyPatch) -> None:
    """Let each step take this many seconds of the run's clock."""
    patch.setattr(Run, "clock", lambda self: seconds * (self.state.images_seen // self.recipe.batch_size))


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


class Listing(Callback):
    """Notes what is in the folder of a run after each step."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.checkpoints: list[list[int]] = []
        self.previews: list[bytes] = []

    def on_step(self, step: StepMetrics, training: Training) -> None:
        preview = self.folder / "samples" / "preview.png"
        found = checkpoint.list_checkpoints(self.folder / "checkpoints")
        self.checkpoints.append([int(file.stem) for file in found])
        self.previews.append(preview.read_bytes() if preview.exists() else b"")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("early") / "quick"
    listing = Listing(folder)
    assert run(RARE, folder, CPU, callbacks=[listing])
    assert listing.checkpoints == [[0]] * 9 + [[0, 160]]
    assert listing.previews == [b""] * 10
    return folder


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Listing]:
    """A run of which each step takes 210 seconds."""
    folder = tmp_path_factory.mktemp("early") / "slow"
    listing = Listing(folder)
    with pytest.MonkeyPatch.context() as patch:
        slow_clock(210.0, patch)
        assert run(RARE, folder, CPU, callbacks=[listing])
    return folder, listing


def test_a_checkpoint_is_saved_after_ten_minutes_whatever_the_recipe_says(slow: tuple[Path, Listing]):
    _, listing = slow
    assert listing.checkpoints == [[0]] * 2 + [[0, 48]] * 3 + [[48, 96]] * 3 + [[96, 144]] + [[144, 160]]


def test_a_preview_is_sampled_after_a_minute_and_replaced_until_the_first_grid(slow: tuple[Path, Listing]):
    folder, listing = slow
    seen = [preview != b"" for preview in listing.previews]
    assert seen == [True] * 7 + [False] * 3
    assert len(set(listing.previews[:7])) == 4  # after 210, 420, 630 and 1050 seconds
    assert [path.name for path in sorted((folder / "samples").iterdir())] == ["000000000128.png"]


def test_the_clock_changes_no_bit_of_a_run(slow: tuple[Path, Listing], quick: Path):
    folder, _ = slow
    assert log_without_speed(folder) == log_without_speed(quick)
    assert same_weights(folder, quick)
    apart = files(folder) ^ files(quick)
    assert apart == {f"checkpoints/{seen:012d}.safetensors" for seen in (0, 144)}
    for name in ("samples/000000000128.png", "samples.png", "denoising.webp"):
        assert (folder / name).read_bytes() == (quick / name).read_bytes()


def test_a_run_goes_on_to_the_same_bits_from_a_checkpoint_that_was_saved_by_the_clock(
    slow: tuple[Path, Listing], quick: Path
):
    folder, _ = slow
    for file in checkpoint.list_checkpoints(folder / "checkpoints")[1:]:
        file.unlink()
    assert run(RARE, folder, CPU)
    assert log_without_speed(folder) == log_without_speed(quick)
    assert same_weights(folder, quick)


def test_a_recipe_without_sample_grids_has_no_preview(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    slow_clock(210.0, monkeypatch)
    assert run(replace(RARE, every=replace(RARE.every, sample=0)), tmp_path, CPU)
    assert not (tmp_path / "samples").exists()


def test_a_preview_that_the_disk_refuses_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: Path, capsys: pytest.CaptureFixture[str]
):
    slow_clock(70.0, monkeypatch)
    (tmp_path / "samples").write_text("no folder")
    assert run(RARE, tmp_path, CPU)
    assert "cannot write the samples" in capsys.readouterr().err
    assert same_weights(tmp_path, quick)


def by_the_first_clock(folder: Path) -> None:
    """Train with steps of 210 seconds by the clock of the first process, and of a tenth of a second by the others."""
    from limpid.runtime import distributed

    with pytest.MonkeyPatch.context() as patch:
        slow_clock(210.0 if distributed.is_main_process() else 0.1, patch)
        listing = Listing(folder)
        assert run(replace(RARE, network=replace(RARE.network, dropout=0.0)), folder, CPU, callbacks=[listing])
        if distributed.is_main_process():
            assert listing.checkpoints[2:5] == [[0, 48]] * 3
            assert listing.previews[0]


def test_processes_save_by_the_clock_of_the_first(tmp_path: Path):
    assert together(2, tmp_path, by_the_first_clock, tmp_path / "run").codes == [0, 0]


def test_a_disk_that_refuses_a_checkpoint_is_tried_again_after_ten_minutes_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tries, save = list[int](), Checkpoints.save
    slow_clock(300.0, monkeypatch)

    def refuse(folder: Path, seen: int, *args: object, **options: object) -> Path:
        tries.append(seen)
        raise OSError("no space left")

    def save_or_refuse(self: Checkpoints, last: bool = False) -> None:
        with pytest.MonkeyPatch.context() as patch:
            if not last:
                patch.setattr(checkpoint, "save_checkpoint", refuse)
            save(self, last)

    monkeypatch.setattr(Checkpoints, "save", save_or_refuse)
    assert run(replace(RARE, every=Every(log=32, sample=0, save=0)), tmp_path, CPU)
    assert tries == [32, 64, 96, 128]
