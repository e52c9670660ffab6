"""A fault in one of several processes: out of memory, non-finite losses, different weights, a killed process."""

import os
import signal
from pathlib import Path

import pytest
import torch
from distributed_runs import UNEVEN, assert_runs_close, train
from process_group import together
from run_faults import limit_memory, put_nan_at
from run_results import checkpoint_images, final_data, same_run
from tiny_recipes import CPU, FULL

from limpid.recipes.recipe import Recipe
from limpid.runtime import distributed, grad_sync
from limpid.runtime.fsdp import find_desynced
from limpid.runtime.grad_sync import GradientSync
from limpid.training.loss_log import LossLog
from limpid.training.run import run

pytestmark = pytest.mark.usefixtures("no_final_figures")


def train_with_little_memory_on_one(recipe: Recipe, folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if distributed.rank() == 1:
            limit_memory(3, patch)
        assert run(recipe, folder, CPU)


def test_a_process_that_runs_out_of_memory_halves_only_its_own_micro_batch(one_process_run: Path, tmp_path: Path):
    folder = tmp_path / "run"
    ended = together(2, tmp_path, train_with_little_memory_on_one, UNEVEN, folder)
    assert ended.codes == [0, 0], ended.output
    assert ended.output[1].splitlines() == [
        f"limpid, process 1: out of memory: from now on {n} images at a time, of the same batch" for n in (4, 2)
    ]
    assert_runs_close(one_process_run, folder)


def train_out_of_memory_in_second_step(recipe: Recipe, folder: Path) -> None:
    """The memory of one process runs out in its second step, at the gradient of the last weight."""
    grad_sync.BUCKET_SIZE = 5000
    with pytest.MonkeyPatch.context() as patch:
        if distributed.rank() == 1:
            begin = GradientSync.begin_micro_batch

            def begin_and_fail_later(self: GradientSync, size: int, last: bool) -> None:
                begin(self, size, last)
                if self.proven:
                    self.buckets[-1].weights[-1].register_post_accumulate_grad_hook(run_out_of_memory)

            patch.setattr(GradientSync, "begin_micro_batch", begin_and_fail_later)
        run(recipe, folder, CPU)


def run_out_of_memory(_: torch.Tensor) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_running_out_of_memory_after_gradients_were_sent_ends_the_run_with_advice(tmp_path: Path):
    ended = together(2, tmp_path, train_out_of_memory_in_second_step, UNEVEN, tmp_path / "run")
    assert ended.codes == [1, 1]
    error = "MemoryError: out of memory after gradients were sent to other processes: resume with --micro-batch 4"
    assert error in ended.output[1]


def train_with_nan_on_one(recipe: Recipe, folder: Path) -> None:
    """A NaN is in the third image of a batch, which only the first process has."""
    with pytest.MonkeyPatch.context() as patch:
        put_nan_at({45}, patch)
        assert run(recipe, folder, CPU)


def test_a_non_finite_loss_on_one_process_rolls_all_back(tmp_path: Path):
    folder = tmp_path / "run"
    ended = together(2, tmp_path, train_with_nan_on_one, UNEVEN, folder)
    assert ended.codes == [0, 0], ended.output
    assert final_data(folder)["skipped_batches"] == [45]
    assert ended.output[0].count("1 of 15 losses not finite") == 1
    assert ended.output[1] == ""


def train_with_other_ema_on_one(recipe: Recipe, folder: Path) -> None:
    """One process changes a value of its EMA at the first line of the log."""
    write_line = LossLog.write_line

    def change_and_write(self: LossLog, step) -> None:
        if distributed.rank() == 1:
            with torch.no_grad():
                next(iter(self.run.state.ema.parameters())).view(-1)[0] += 1e-6
        return write_line(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LossLog, "write_line", change_and_write)
        run(recipe, folder, CPU)


def test_processes_with_different_weights_are_detected_before_they_are_saved(tmp_path: Path):
    ended = together(2, tmp_path, train_with_other_ema_on_one, UNEVEN, tmp_path / "run")
    assert ended.codes == [1, 1]
    assert "the processes no longer hold the same ema.enter.weight: are their machines alike?" in ended.output[0]
    assert checkpoint_images(tmp_path / "run") == [0]


def test_one_process_is_never_desynchronized():
    assert find_desynced({"a": torch.ones(3)}) == []


def train_and_kill_last(recipe: Recipe, folder: Path) -> None:
    """Train; the last process is killed in the step that begins at image 96."""
    record = LossLog.record

    def kill_or_record(self: LossLog, step) -> None:
        if distributed.rank() == distributed.world_size() - 1 and step.data_position == 96:
            os.kill(os.getpid(), signal.SIGKILL)
        record(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LossLog, "record", kill_or_record)
        run(recipe, folder, CPU)


def test_a_killed_process_ends_all_and_resuming_changes_no_bit(two_process_run: Path, tmp_path: Path):
    broken = tmp_path / "broken"
    ended = together(2, tmp_path, train_and_kill_last, FULL, broken)
    assert ended.codes == [1, -signal.SIGKILL]
    assert ended.seconds < 30
    assert "PeerLostError: process 0 of 2 has lost the others: " in ended.output[0]
    assert together(2, tmp_path, train, FULL, broken).codes == [0, 0]
    assert same_run(two_process_run, broken)
