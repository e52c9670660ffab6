"""Runs of several processes: what each process does, and how the result is compared with that of one process."""

import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from run_faults import call_at
from run_results import final_tensors, log_without_speed
from tiny_recipes import CPU, FULL

from limpid.cli.main import main
from limpid.recipes.recipe import Every, Recipe
from limpid.runtime import distributed, grad_sync
from limpid.training.run import run

# As FULL, but with a batch that neither 2 nor 4 divides, and without dropout, whose masks depend on the slice of a
# process.
UNEVEN: Recipe = replace(
    FULL,
    duration=180,
    batch_size=15,
    network=replace(FULL.network, dropout=0.0),
    every=Every(log=45, sample=180, save=90, snapshot=90),
)


def train(recipe: Recipe, folder: Path, bucket_size: int = grad_sync.BUCKET_SIZE) -> None:
    grad_sync.BUCKET_SIZE = bucket_size
    assert run(recipe, folder, CPU)


def train_until_one_is_stopped(recipe: Recipe, folder: Path, images_seen: int) -> None:
    """Train; the last process alone gets SIGTERM after this many images."""
    with pytest.MonkeyPatch.context() as patch:
        if distributed.rank() == distributed.world_size() - 1:
            call_at(images_seen, lambda: signal.raise_signal(signal.SIGTERM), patch)
        assert not run(recipe, folder, CPU)


def run_command(*words: str) -> None:
    """`limpid WORDS`, which ends the process."""
    sys.exit(main(words))


def assert_runs_close(one: Path, other: Path) -> None:
    """Assert that two runs differ by no more than the rounding of sums in another order."""
    a, b = final_tensors(one), final_tensors(other)
    assert a.keys() == b.keys()
    for part in ("model.", "ema.", "power0.", "power1.", "loss.", "uncertainty."):
        x, y = (torch.cat([w[name].flatten() for name in w if name.startswith(part)]) for w in (a, b))
        assert (x - y).norm() < 2e-3 * x.norm(), part
    lines, other_lines = log_without_speed(one), log_without_speed(other)
    assert [line["images_seen"] for line in lines] == [line["images_seen"] for line in other_lines]
    for name in ("loss", "grad_norm"):
        assert [line[name] for line in other_lines] == pytest.approx([line[name] for line in lines], rel=2e-3)
