"""Training from Python, with images, a network, a schedule, a target and a weighting of one's own."""

import json
import re
import signal
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from killable import LIVES
from process_state import process_state
from run_results import equal_tensors, final_tensors, same_weights
from tiny_recipes import CPU, TINY
from torch import Tensor, nn
from torch.utils.data import Dataset

from limpid.data import Digits, Folder, InMemory, images_from_python
from limpid.data.images import ImageDataset
from limpid.diffusion.schedules import Schedule
from limpid.recipes.recipe import Every, Recipe
from limpid.recipes.serialize import from_dict, to_dict
from limpid.sampling.pipeline import load
from limpid.sampling.samples import Samples
from limpid.storage import checkpoint
from limpid.training.api import train, train_steps
from limpid.training.callbacks import Callback
from limpid.training.loop import StepMetrics
from limpid.training.training import Training

pytestmark = pytest.mark.usefixtures("no_final_figures")


class Small(nn.Module):
    """A network of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor | None) -> Tensor:
        noise = c_noise.float().view(-1, 1, 1, 1).expand_as(x)
        return self.last(torch.relu(self.first(torch.cat([x, noise], 1))))


class Squares(Dataset):
    """A torch Dataset of one's own, of images as uint8 tensors, with labels or without."""

    def __init__(self, labelled: bool):
        self.labelled = labelled

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> object:
        image = torch.full((1, 8, 8), 10 * index, dtype=torch.uint8)
        return (image, index % 3) if self.labelled else image


PIXELS = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)
PLAIN: Recipe = replace(TINY, class_conditional=False, label_dropout=0.0, every=Every(log=32, sample=0, save=32))
PLAIN = replace(PLAIN, sampling=replace(PLAIN.sampling, guidance=type(PLAIN.sampling.guidance)(), steps=2))


class StopAt(Callback):
    """Presses Ctrl-C after so many images."""

    def __init__(self, images: int):
        self.images = images

    def on_step(self, step: StepMetrics, training: Training) -> None:
        if step.images_seen == self.images:
            signal.raise_signal(signal.SIGINT)


def in_two_parts(folder: Path, recipe: Recipe, data=None, network: nn.Module | None = None) -> None:
    """Train, stop after 48 images, and go on to the end."""
    with pytest.raises(KeyboardInterrupt, match="stopped after 48 images"):
        train(recipe, data, run=folder, network=network, callbacks=[StopAt(48)], runtime=CPU)
    train(recipe, data, run=folder, network=network, runtime=CPU)


def train_own_parts(folder: Path, output: Path) -> None:
    with output.open("w") as sys.stdout:
        sys.stderr = sys.stdout
        import own_parts

        own_parts.train_twice_and_load(str(folder))


def test_own_parts_train_resume_bit_for_bit_and_load_again(tmp_path: Path):
    """In a process of its own, since the tests check the types of limpid's own functions."""
    process = LIVES.Process(target=train_own_parts, args=(tmp_path, tmp_path / "output"))
    process.start()
    process.join()
    assert ((tmp_path / "output").read_text(), process.exitcode) == ("", 0)  # a library prints nothing
    assert same_weights(tmp_path / "straight", tmp_path / "parts")
    plain = json.loads((tmp_path / "parts" / "recipe.json").read_text())
    assert plain["schedule"] == {"kind": "own_parts:QuarterCircle", "end": 1.5}
    assert plain["loss_weighting"] == {"kind": "own_parts:Cubed"}
    assert "own_parts" not in sys.modules
    with pytest.raises(ValueError, match=r"schedule is own_parts:QuarterCircle: import own_parts first"):
        load(tmp_path / "parts", runtime=CPU)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("not_imported:Mine", "import not_imported first, for a file never causes an import"),
        ("subprocess:Popen", "expected a frozen dataclass"),
        ("json:nothing", "json has no class nothing"),
        ("limpid.data.digits:Digits", "expected a class with __call__"),
    ],
)
def test_what_cannot_be_a_schedule_is_refused(path: str, message: str):
    with pytest.raises(ValueError, match=f"recipe.schedule is {path}: .*{message}|{message}"):
        from_dict(Recipe, to_dict(TINY) | {"schedule": {"kind": path}})


def test_a_class_in_a_function_is_refused():
    @dataclass(frozen=True)
    class Hidden:
        pass

    with pytest.raises(ValueError, match="is defined in a function: move it to the top of a module"):
        to_dict(Hidden(), Schedule)


def test_an_own_network_trains_resumes_bit_for_bit_and_must_be_passed_to_load(tmp_path: Path):
    torch.manual_seed(1)
    network = Small()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pipeline = train(PLAIN, run=tmp_path / "straight", network=network, runtime=CPU)
    assert equal_tensors(dict(network.state_dict()), before)
    assert not equal_tensors(dict(pipeline.model.net.state_dict()), before)
    in_two_parts(tmp_path / "parts", PLAIN, network=network)
    assert same_weights(tmp_path / "straight", tmp_path / "parts")
    with pytest.raises(ValueError, match=r"the network is .*test_api:Small, .*: pass such a module as network="):
        load(tmp_path / "parts", runtime=CPU)
    with pytest.raises(ValueError, match="another recipe"):
        train(PLAIN, run=tmp_path / "parts", network=nn.Sequential(nn.Conv2d(1, 1, 1)), runtime=CPU)


@pytest.mark.parametrize(
    ("data", "images", "classes"),
    [
        (PIXELS, 40, 0),
        (torch.from_numpy(PIXELS).movedim(-1, 1), 40, 0),
        (Squares(False), 24, 0),
        (Squares(True), 24, 3),
    ],
    ids=["array", "tensor", "dataset", "labelled dataset"],
)
def test_images_from_python_are_data(data, images: int, classes: int):
    source = images_from_python(data).open("cpu")
    assert isinstance(source, ImageDataset)
    assert (len(source), source.shape, source.classes) == (images, (1, 8, 8), classes)


def test_images_from_python_train_resume_bit_for_bit_and_others_are_refused(tmp_path: Path):
    pipeline = train(PLAIN, PIXELS, run=tmp_path / "straight", runtime=CPU)
    in_two_parts(tmp_path / "parts", PLAIN, PIXELS)
    assert same_weights(tmp_path / "straight", tmp_path / "parts")
    assert load(tmp_path / "parts", runtime=CPU).recipe == pipeline.recipe
    with pytest.raises(ValueError, match="was trained on other data than this"):
        train(PLAIN, PIXELS[::-1].copy(), run=tmp_path / "parts", runtime=CPU)
    with pytest.raises(ValueError, match="pass the same images again as data="):
        InMemory().open("cpu")


def test_what_holds_no_images_is_refused():
    with pytest.raises(ValueError, match=r"data is a int: expected a path, or images as an array, tensor or Dataset"):
        train_steps(PLAIN, 3, runtime=CPU)  # pyright: ignore[reportArgumentType]


def test_a_path_is_a_folder_with_the_choices_of_the_recipe(tmp_path: Path):
    np.savez(tmp_path / "a.npz", images=PIXELS)
    recipe = replace(PLAIN, data=Folder(size=8, channels="L"))
    assert train_steps(recipe, tmp_path / "a.npz", runtime=CPU).source.shape == (1, 8, 8)
    assert train_steps(recipe, Digits(size=8), runtime=CPU).recipe.data == Digits(size=8)


def test_without_a_run_folder_nothing_is_written_and_the_weights_are_those_of_one(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, steps = process_state(), []

    class Count(Callback):
        def on_step(self, step: StepMetrics, training: Training) -> None:
            steps.append(step.images_seen)

    pipeline = train(TINY, callbacks=[Count()], runtime=CPU)
    assert process_state() == before
    assert list(tmp_path.iterdir()) == []
    assert steps == [16, 32, 48, 64]
    train(TINY, run=tmp_path / "run", runtime=CPU)
    ema = {f"ema.{name}": value for name, value in pipeline.model.net.state_dict().items()}
    saved = final_tensors(tmp_path / "run")
    assert all(torch.equal(value, saved[name]) for name, value in ema.items())


def test_a_loop_of_ones_own_trains_to_the_same_weights_in_a_thread():
    expected, found = train(TINY, runtime=CPU), []

    def loop() -> None:
        training = train_steps(TINY, runtime=CPU)
        found.extend(step.loss.mean().item() for step in training)
        found.append(training.pipeline())

    thread = threading.Thread(target=loop)
    thread.start()
    thread.join()
    assert len(found) == 5
    assert equal_tensors(dict(found[-1].model.state_dict()), dict(expected.model.state_dict()))


def test_a_pipeline_that_was_taken_during_training_stays_as_it_was():
    training = train_steps(TINY, runtime=CPU)
    steps = iter(training)
    next(steps)
    pipeline = training.pipeline()
    before = {name: value.clone() for name, value in pipeline.model.state_dict().items()}
    list(steps)
    assert equal_tensors(dict(pipeline.model.state_dict()), before)
    assert training.finished


def test_every_event_reaches_a_callback(tmp_path: Path):
    events = []

    class Notes(Callback):
        def on_start(self, training: Training) -> None:
            events.append("start")

        def on_log(self, line, images_seen: int) -> None:
            events.append(("log", images_seen, sorted(line)[:2]))

        def on_samples(self, samples: Samples, images_seen: int) -> None:
            events.append(("samples", images_seen, tuple(samples.pixels.shape)))

        def on_checkpoint(self, path: Path, images_seen: int) -> None:
            events.append(("checkpoint", images_seen, path.name))

        def on_end(self, training: Training) -> None:
            events.append("end")

    recipe = replace(PLAIN, duration=32, every=Every(log=32, sample=32, save=32))
    train(recipe, run=tmp_path, callbacks=[Notes()], runtime=CPU)
    assert events == [
        ("checkpoint", 0, checkpoint.file_name(0)),
        "start",
        ("log", 32, ["grad_norm", "images_per_second"]),
        ("checkpoint", 32, checkpoint.file_name(32)),
        ("samples", 32, (64, 1, 8, 8)),
        "end",
    ]


def test_a_method_that_is_never_called_is_refused():
    class Misspelt(Callback):
        def on_steps(self) -> None:
            pass

    with pytest.raises(ValueError, match=r"Misspelt.on_steps is never called: choose from on_start, on_step, "):
        train(TINY, callbacks=[Misspelt()], runtime=CPU)


def test_progress_is_one_line_that_is_written_over_itself(capsys: pytest.CaptureFixture[str]):
    train(PLAIN, PIXELS, runtime=CPU, progress=True)
    described, _, shown = capsys.readouterr().out.partition("  no classes\n")
    assert described.startswith("images: 40 images of 8x8, grey")
    assert shown.endswith("\n")
    assert shown.count("\n") == 1
    assert re.search(r"\r64 of 64 images  loss \S+  \S+ images/s  in \d+ s *\n$", shown)
    train(PLAIN, PIXELS, runtime=CPU)
    assert "\r" not in capsys.readouterr().out
