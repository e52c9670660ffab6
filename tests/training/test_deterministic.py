"""Deterministic kernels on a CPU."""

from pathlib import Path

import pytest
import torch
from killable import LIVES
from run_results import same_weights
from tiny_recipes import CPU, LOGGED_TWICE

from limpid.runtime.device import TrainingRuntime
from limpid.training.loop import StepMetrics
from limpid.training.loss_log import LossLog
from limpid.training.run import run

pytestmark = pytest.mark.usefixtures("no_final_figures")


def train_deterministically(folder: Path) -> None:
    torch.set_num_threads(1)
    write_line, settings = LossLog.write_line, []

    def write_and_check(self: LossLog, step: StepMetrics) -> None:
        settings.append(torch.are_deterministic_algorithms_enabled())
        return write_line(self, step)

    LossLog.write_line = write_and_check
    run(LOGGED_TWICE, folder, TrainingRuntime("cpu", "float32", deterministic=True))
    assert settings
    assert all(settings)


def test_deterministic_kernels_change_no_bit_on_a_cpu(tmp_path: Path):
    process = LIVES.Process(target=train_deterministically, args=(tmp_path / "deterministic",))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert run(LOGGED_TWICE, tmp_path / "default", CPU)
    assert same_weights(tmp_path / "deterministic", tmp_path / "default")
