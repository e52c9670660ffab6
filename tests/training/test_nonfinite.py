"""A non-finite loss rolls the run back to its last checkpoint and skips the batch."""

import json
import math
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from run_faults import put_nan_at, stop_at
from run_results import equal_tensors, final_data, final_tensors, same_weights
from tiny_recipes import CPU, LOGGED_TWICE

from limpid.recipes.recipe import Recipe
from limpid.storage import jsonl
from limpid.training.anomalies import NonFiniteMonitor
from limpid.training.loop import StepMetrics, training_loop
from limpid.training.loss_log import LossLog
from limpid.training.run import run
from limpid.training.state import init_state, state_dict

pytestmark = pytest.mark.usefixtures("no_final_figures")


def tensors_without(recipe: Recipe, *skipped: int) -> dict[str, torch.Tensor]:
    """The tensors after training that skips the batches at these positions from the beginning."""
    source = recipe.data.open("cpu")
    state = init_state(recipe, source.shape, len(source.class_names), CPU)
    state.skipped_batches = skipped
    for _ in training_loop(state, recipe, source, CPU):
        pass
    assert state.data_position == recipe.duration + recipe.batch_size * len(skipped)
    return state_dict(state)


@pytest.mark.parametrize("positions", [{48}, {0}, {64, 80}])
def test_a_non_finite_loss_rolls_the_run_back_and_skips_its_batch(positions: set[int], tmp_path, monkeypatch, capsys):
    put_nan_at(positions, monkeypatch)
    assert run(LOGGED_TWICE, tmp_path, CPU)
    tensors, data = final_tensors(tmp_path), final_data(tmp_path)
    assert set(data["skipped_batches"]) == positions
    output = capsys.readouterr().err.splitlines()
    assert len(output) == len(positions)
    assert all("1 of 16 losses not finite, at log-SNR " in line for line in output)
    assert all(", gradient norm nan: back to " in line for line in output)
    tensors.pop("meter")
    assert equal_tensors(tensors, tensors_without(LOGGED_TWICE, *positions))
    assert [line["images_seen"] for line in jsonl.read_jsonl(tmp_path / "log.jsonl")] == [64, 128]
    assert all(math.isfinite(line["loss"]) for line in jsonl.read_jsonl(tmp_path / "log.jsonl"))


def test_skipped_batches_stay_skipped_when_a_run_is_stopped(tmp_path: Path, monkeypatch):
    put_nan_at({48}, monkeypatch)
    assert run(LOGGED_TWICE, tmp_path / "straight", CPU)
    with monkeypatch.context() as patch:
        stop_at(64, patch)
        assert not run(LOGGED_TWICE, tmp_path / "stopped", CPU)
    assert run(LOGGED_TWICE, tmp_path / "stopped", CPU)
    assert same_weights(tmp_path / "straight", tmp_path / "stopped")
    assert final_data(tmp_path / "straight") == final_data(tmp_path / "stopped")


def test_a_stop_request_at_a_non_finite_loss_rolls_back_and_stops(tmp_path: Path, monkeypatch):
    put_nan_at({48}, monkeypatch)
    record = LossLog.record

    def record_and_stop(self: LossLog, step: StepMetrics) -> None:
        record(self, step)
        if step.data_position == 48:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(LossLog, "record", record_and_stop)
    assert not run(LOGGED_TWICE, tmp_path, CPU)
    tensors, data = final_tensors(tmp_path), final_data(tmp_path)
    assert (data["images_seen"], data["skipped_batches"]) == (48, [48])
    assert all(value.isfinite().all() for value in tensors.values())


def test_a_run_whose_every_batch_is_non_finite_ends_with_a_report(tmp_path: Path, capsys):
    diverging = replace(LOGGED_TWICE, optimizer=replace(LOGGED_TWICE.optimizer, lr=1e30, max_grad_norm=1e30))
    with pytest.raises(
        FloatingPointError, match=r"although 3 batches after 0 images were skipped: the last good .*00000"
    ):
        run(diverging, tmp_path, CPU)
    assert capsys.readouterr().err.count("back to 0 images, skipping the batch at ") == 3
    report = json.loads((tmp_path / "trouble.json").read_text())
    assert len(report["skipped_batches"]) == 3
    assert len(report["losses"]) == len(report["logsnrs"]) == 16
    assert report["weights"]["down"] > 0
    failure = json.loads((tmp_path / "failure.json").read_text())
    assert "although 3 batches after 0 images were skipped" in failure["error"]
    assert all(value.isfinite().all() for value in final_tensors(tmp_path).values())


def test_only_the_first_non_finite_step_is_recorded():
    monitor = NonFiniteMonitor("cpu")
    losses, logsnr, grad_norm = torch.ones(2), torch.tensor([0.0, 3.0]), torch.tensor(1.0)
    monitor.check(0, losses, logsnr, grad_norm)
    assert monitor.read() is None
    monitor.check(16, torch.tensor([1.0, math.inf]), logsnr, grad_norm)
    monitor.check(32, losses * math.nan, logsnr, grad_norm * math.nan)
    nonfinite = monitor.read()
    assert nonfinite is not None
    assert str(nonfinite) == "1 of 2 losses not finite, at log-SNR 3.0 to 3.0, gradient norm 1.0"
    assert (nonfinite.data_position, nonfinite.losses) == (16, [1.0, math.inf])
