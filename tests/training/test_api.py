"""Training from Python with a network, a schedule, a target and a weighting of one's own."""

import json
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from killable import LIVES
from own_data import UNCONDITIONAL, train_in_two_parts
from process_state import process_state
from run_results import equal_tensors, final_tensors, same_weights
from tiny_recipes import CPU, TINY
from torch import Tensor, nn

from limpid.diffusion.schedules import Schedule
from limpid.recipes.recipe import Recipe
from limpid.recipes.serialize import from_dict, to_dict
from limpid.sampling.pipeline import load
from limpid.training.api import train, train_steps
from limpid.training.callbacks import Callback
from limpid.training.loop import StepMetrics
from limpid.training.training import Training

pytestmark = pytest.mark.usefixtures("no_final_figures")


class OwnNetwork(nn.Module):
    """A network of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor | None) -> Tensor:
        noise = c_noise.float().view(-1, 1, 1, 1).expand_as(x)
        return self.last(torch.relu(self.first(torch.cat([x, noise], 1))))


def test_an_own_network_trains_resumes_bit_for_bit_and_must_be_passed_to_load(tmp_path: Path):
    torch.manual_seed(1)
    network = OwnNetwork()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pipeline = train(UNCONDITIONAL, run=tmp_path / "straight", network=network, runtime=CPU)
    assert equal_tensors(dict(network.state_dict()), before)
    assert not equal_tensors(dict(pipeline.model.net.state_dict()), before)
    train_in_two_parts(tmp_path / "parts", UNCONDITIONAL, network=network)
    assert same_weights(tmp_path / "straight", tmp_path / "parts")
    with pytest.raises(ValueError, match=r"the network is .*test_api:OwnNetwork, .*: pass such a module as network="):
        load(tmp_path / "parts", runtime=CPU)
    with pytest.raises(ValueError, match="another recipe"):
        train(UNCONDITIONAL, run=tmp_path / "parts", network=nn.Sequential(nn.Conv2d(1, 1, 1)), runtime=CPU)


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
def test_a_class_that_is_no_schedule_is_refused(path: str, message: str):
    with pytest.raises(ValueError, match=f"recipe.schedule is {path}: .*{message}|{message}"):
        from_dict(Recipe, to_dict(TINY) | {"schedule": {"kind": path}})


def test_a_class_in_a_function_is_refused():
    @dataclass(frozen=True)
    class Hidden:
        pass

    with pytest.raises(ValueError, match="is defined in a function: move it to the top of a module"):
        to_dict(Hidden(), Schedule)


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


def test_a_loop_over_train_steps_trains_to_the_same_weights_in_a_thread():
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
