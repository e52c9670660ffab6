"""Runs in TensorBoard and W&B: read back by their own readers, and equal to the log."""

import json
import math
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_recipes import CPU, TINY
from wandb_server import WandbServer, wandb_server

from limpid.cli.main import main
from limpid.interop import wandb_run
from limpid.interop.run_history import RunHistory
from limpid.interop.wandb_run import WandbRun
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
    """Ends a run after some images as an error in a callback does, without saving."""

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


def logged(folder: Path, name: str) -> list[tuple[int, np.float32]]:
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [(line["images_seen"], np.float32(line[name])) for line in lines if name in line]


def assert_equals_log(events: Path, folder: Path) -> None:
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
def cut_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was tracked, cut 16 images after its last checkpoint, and resumed."""
    folder = tmp_path_factory.mktemp("runs") / "cut"
    with pytest.raises(KilledError):
        run(RECIPE, folder, CPU, callbacks=[Tracker("tensorboard", folder), Kill(80)])
    assert [step for step, _ in logged(folder, "loss")] == [16, 32, 48, 64, 80]
    run(RECIPE, folder, CPU, callbacks=[Tracker("tensorboard", folder)])
    return folder


def test_tensorboard_reads_the_log_and_nothing_twice_after_a_cut(cut_run: Path):
    assert_equals_log(cut_run / "tensorboard", cut_run)
    assert len(list((cut_run / "tensorboard").iterdir())) == 1


def test_after_a_rollback_no_line_is_there_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    make_noisy_batch, spoilt_once = loop.make_noisy_batch, []

    def spoil(state: TrainState, *args) -> NoisyBatch:
        noisy = make_noisy_batch(state, *args)
        if state.data_position == 96:
            noisy.x0[2, 0, 0, 0] = math.nan
            spoilt_once.append(state.images_seen)
        return noisy

    monkeypatch.setattr(loop, "make_noisy_batch", spoil)
    folder = tmp_path / "run"
    recipe = replace(TINY, duration=128, every=Every(log=16, sample=32, save=64))
    assert run(recipe, folder, CPU, callbacks=[Tracker("tensorboard", folder)])
    assert spoilt_once == [96]  # two lines after the checkpoint that the run went back to
    scalars, images = read_events(folder / "tensorboard")
    assert scalars["loss"] == logged(folder, "loss")
    assert [step for step, _ in scalars["loss"]] == [16, 32, 48, 64, 80, 96, 112, 128]
    assert [step for step, _ in images] == [32, 64, 96, 128]


def test_export_tensorboard_writes_the_same_and_replaces_what_it_wrote(cut_run: Path, tmp_path: Path, capsys):
    for _ in range(2):
        assert main(["export", "tensorboard", str(cut_run), "--out", str(tmp_path / "events")]) == 0
        assert capsys.readouterr().out.splitlines() == [str(tmp_path / "events")]
        assert_equals_log(tmp_path / "events", cut_run)


def test_the_recipe_is_in_the_hyperparameters(cut_run: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import (
        HParamsPluginData,  # pyright: ignore[reportAttributeAccessIssue]
    )

    events = EventAccumulator(str(cut_run / "tensorboard"))
    events.Reload()
    metadata = events.SummaryMetadata("_hparams_/session_start_info")
    values = HParamsPluginData.FromString(metadata.plugin_data.content).session_start_info.hparams
    assert values["network.num_blocks"].number_value == 1
    assert values["network"].string_value == "UNet"
    assert values["sampling.sampler"].string_value == "Heun"


def test_what_is_no_run_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
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


def test_the_offline_files_of_wandb_hold_each_line_and_grid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "run"
    recipe = replace(TINY, duration=48, every=Every(log=16, sample=32, save=0))
    assert run(recipe, folder, CPU, callbacks=[Tracker("wandb", folder)])
    sent = [line for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")) for line in wandb_lines(file)]
    assert [(line["images_seen"], np.float32(line["loss"])) for line in sent if "loss" in line] == logged(
        folder, "loss"
    )
    grids = [line["samples.sha256"] for line in sent if "samples.sha256" in line]
    assert len(grids) == len(set(grids)) == len(list((folder / "samples").glob("0*.png")))


@pytest.fixture
def wandb_online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WandbServer]:
    import wandb

    wandb.teardown()  # what it has read of the environment of an earlier test
    with wandb_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", 40 * "a")
        monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
        monkeypatch.delenv("WANDB_MODE", raising=False)
        yield server


def test_a_server_of_wandb_gets_each_line_and_grid_once_also_where_a_run_is_resumed(
    wandb_online: WandbServer, tmp_path: Path
):
    grid = tmp_path / "grid.png"
    Image.new("RGB", (4, 4), "red").save(grid)
    lines = [{"images_seen": seen, "loss": seen / 64} for seen in (16, 32, 48, 64, 80)]
    for duration, known, added in ((64, lines[:2], lines[2]), (80, lines[:4], lines[4])):
        sent = WandbRun(tmp_path / "run" / "wandb", RunHistory({"duration": duration}, "", known, {32: grid}))
        sent.add_line(added, added["images_seen"])
        sent.close()
    found = wandb_online.history
    assert [(line["images_seen"], line["loss"]) for line in found if "loss" in line] == [
        (line["images_seen"], line["loss"]) for line in lines
    ]
    assert [line["_step"] for line in found] == list(range(len(found)))
    grids = [content for path, content in wandb_online.files.items() if "/media/images/samples" in path]
    assert grids == [grid.read_bytes()]
    assert json.loads(wandb_online.config)["duration"]["value"] == 80


def test_a_server_of_wandb_that_does_not_answer_is_given_up(
    wandb_online: WandbServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(wandb_run, "SECONDS_OF_SILENCE", 1.0)
    wandb_online.silent = True
    with pytest.raises(Exception, match="deadline exceeded"):
        WandbRun(tmp_path / "run" / "wandb", RunHistory({}, "", [], {}))


def wandb_lines(file: Path) -> list[dict]:
    """The values in an offline file of W&B."""
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

    lines = []
    for record in map(Record.FromString, wandb_records(file.read_bytes())):
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            line = {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}
            lines.append(line)
    return lines


def wandb_records(content: bytes) -> Iterator[bytes]:
    """The records of a file in the log format of LevelDB: blocks of 32 KiB, of parts with a checksum, length and kind,
    after a header of 7 bytes."""
    at, record = 7, b""
    while at + 7 <= len(content):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # complete, or the last part
            yield record
            record = b""
