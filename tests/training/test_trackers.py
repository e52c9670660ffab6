"""Runs in TensorBoard, read back by its own reader, are equal to the log."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_recipes import CPU, TINY
from tracked_runs import logged

from limpid.cli.main import main
from limpid.recipes.recipe import Every
from limpid.training import loop, trackers
from limpid.training.accumulate import NoisyBatch
from limpid.training.callbacks import Callback
from limpid.training.run import run
from limpid.training.state import TrainState
from limpid.training.trackers import Tracker, TrackerBackend

# The reader of TensorBoard's own program sets itself up with parts of NumPy and protobuf that warn.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.usefixtures("no_final_figures")]


RECIPE = replace(TINY, duration=96, every=Every(log=16, sample=32, save=64, score=48, score_images=100))


class KilledError(Exception):
    pass


class Kill(Callback):
    """Ends a run after this many images by an error, without saving."""

    def __init__(self, images: int) -> None:
        self.images = images

    def on_log(self, line, images_seen: int) -> None:
        if images_seen == self.images:
            raise KilledError


def read_events(folder: Path):
    """What TensorBoard shows: losses, scores and images by the number of images seen."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    scalars = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    return scalars, [(event.step, event.encoded_image_string) for event in events.Images("samples")]


def assert_equals_log(events: Path, folder: Path) -> None:
    """Assert that the events of TensorBoard are the lines and the sample grids of the run in the folder."""
    scalars, images = read_events(events)
    for name in ("loss", "lr", "grad_norm", "images_per_second"):
        assert scalars[name] == logged(folder, name)
    (score,) = [name for name in scalars if logged(folder, name) and "loss" not in name and len(scalars[name]) == 2]
    assert scalars[score] == logged(folder, score)
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    ranges = {f"loss_by_logsnr/{name}" for line in lines for name in line.get("loss_by_logsnr", {})}
    assert {name for name in scalars if name.startswith("loss_by_logsnr/")} == ranges
    assert images == [(int(file.stem), file.read_bytes()) for file in sorted((folder / "samples").glob("0*.png"))]


@pytest.fixture(scope="module")
def resumed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracked run that ended by an error 16 images after its last checkpoint, and was resumed."""
    folder = tmp_path_factory.mktemp("runs") / "resumed"
    with pytest.raises(KilledError):
        run(RECIPE, folder, CPU, callbacks=[Tracker("tensorboard", folder), Kill(80)])
    assert [step for step, _ in logged(folder, "loss")] == [16, 32, 48, 64, 80]
    run(RECIPE, folder, CPU, callbacks=[Tracker("tensorboard", folder)])
    return folder


def test_tensorboard_has_every_line_once_after_a_killed_run_is_resumed(resumed_run: Path):
    assert_equals_log(resumed_run / "tensorboard", resumed_run)
    assert len(list((resumed_run / "tensorboard").iterdir())) == 1


def test_after_a_rollback_tensorboard_has_every_line_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    make_noisy_batch, with_nan = loop.make_noisy_batch, []

    def put_nan(state: TrainState, *args) -> NoisyBatch:
        noisy = make_noisy_batch(state, *args)
        if state.data_position == 96:
            noisy.x0[2, 0, 0, 0] = math.nan
            with_nan.append(state.images_seen)
        return noisy

    monkeypatch.setattr(loop, "make_noisy_batch", put_nan)
    folder = tmp_path / "run"
    recipe = replace(TINY, duration=128, every=Every(log=16, sample=32, save=64))
    assert run(recipe, folder, CPU, callbacks=[Tracker("tensorboard", folder)])
    assert with_nan == [96]  # two lines after the checkpoint that the run is rolled back to
    scalars, images = read_events(folder / "tensorboard")
    assert scalars["loss"] == logged(folder, "loss")
    assert [step for step, _ in scalars["loss"]] == [16, 32, 48, 64, 80, 96, 112, 128]
    assert [step for step, _ in images] == [32, 64, 96, 128]


def test_export_tensorboard_writes_the_same_and_replaces_what_it_wrote(resumed_run: Path, tmp_path: Path, capsys):
    for _ in range(2):
        assert main(["export", "tensorboard", str(resumed_run), "--out", str(tmp_path / "events")]) == 0
        assert capsys.readouterr().out.splitlines() == [str(tmp_path / "events")]
        assert_equals_log(tmp_path / "events", resumed_run)


def test_the_recipe_is_in_the_hyperparameters(resumed_run: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import (
        HParamsPluginData,  # pyright: ignore[reportAttributeAccessIssue]
    )

    events = EventAccumulator(str(resumed_run / "tensorboard"))
    events.Reload()
    metadata = events.SummaryMetadata("_hparams_/session_start_info")
    values = HParamsPluginData.FromString(metadata.plugin_data.content).session_start_info.hparams
    assert values["network.num_blocks"].number_value == 1
    assert values["network"].string_value == "UNet"
    assert values["sampling.sampler"].string_value == "Heun"


def test_a_folder_that_is_no_run_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["export", "tensorboard", str(tmp_path)]) == 2
    assert "is no run folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_tracker_is_refused_before_anything_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["train", "demo", "--run", str(tmp_path / "run"), "--track", "mlflow"]) == 2
    assert not (tmp_path / "run").exists()


class BrokenWriter:
    def __init__(self, folder: Path, history: object) -> None:
        raise RuntimeError("no connection\nand more")


class SlowWriter(BrokenWriter):
    def __init__(self, folder: Path, history: object) -> None:
        time.sleep(30)


@pytest.mark.parametrize(("writer", "reason"), [(BrokenWriter, "no connection"), (SlowWriter, "did not end within")])
def test_a_tracker_that_fails_warns_once_and_the_run_continues(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str], writer: type, reason: str
):
    monkeypatch.setitem(trackers.BACKENDS, "tensorboard", TrackerBackend(writer, lambda: None))
    monkeypatch.setattr(trackers, "SECONDS_AT_END", 0.2)
    recipe = replace(TINY, duration=32, every=Every(log=16, sample=0, save=0))
    begin = time.monotonic()
    assert run(recipe, tmp_path / "run", CPU, callbacks=[Tracker("tensorboard", tmp_path / "run")])
    assert time.monotonic() - begin < 25
    err = "".join(capfd.readouterr())
    assert err.count("tracking with tensorboard has failed") == 1
    assert reason in err
    assert len(logged(tmp_path / "run", "loss")) == 2
