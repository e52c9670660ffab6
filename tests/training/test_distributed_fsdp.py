"""Weights that are sharded over several processes train the same."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from distributed_runs import UNEVEN, assert_runs_close
from process_group import set_rank, together
from run_faults import call_at
from tiny_recipes import CPU

from limpid.optim.optimizers import AdamW, Muon
from limpid.recipes.recipe import Every, Recipe
from limpid.training.run import run
from limpid.training.state import init_state

pytestmark = pytest.mark.usefixtures("no_final_figures")


# Fewer weights than UNEVEN has, since each sharded weight is gathered by a call of its own.
EVEN = replace(
    UNEVEN,
    duration=96,
    batch_size=12,
    network=replace(UNEVEN.network, channel_mult=(1,), attn_resolutions=(8,)),
    optimizer=AdamW(lr=1.5e-3),
    every=Every(log=24, sample=48, save=48, snapshot=48, score=0),
)


def train_sharded(recipe: Recipe, folder: Path, stop_at: int = 0) -> None:
    """Train with sharded weights, and stop after this many images unless it is 0."""
    with pytest.MonkeyPatch.context() as patch:
        if stop_at:
            call_at(stop_at, lambda: signal.raise_signal(signal.SIGTERM), patch)
        assert run(recipe, folder, replace(CPU, fsdp=True).resolve()) is (stop_at == 0)


def test_sharded_weights_train_the_same_and_are_resumed_on_any_number_of_processes(tmp_path: Path):
    straight, sharded = tmp_path / "straight", tmp_path / "sharded"
    assert run(EVEN, straight, CPU)
    ended = together(2, tmp_path, train_sharded, EVEN, sharded, 48)
    assert ended.codes == [0, 0], ended.output
    ended = together(3, tmp_path, train_sharded, EVEN, sharded)
    assert ended.codes == [0, 0, 0], ended.output
    assert_runs_close(straight, sharded)
    longer = replace(EVEN, duration=120)
    assert run(longer, straight, CPU, allow_rewarm=True)
    assert run(longer, sharded, CPU, allow_rewarm=True)
    assert_runs_close(straight, sharded)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (UNEVEN, "--fsdp with batch 15: expected a multiple of 2, the processes"),
        (replace(EVEN, optimizer=Muon()), "--fsdp with Muon, which needs complete weight matrices: expected AdamW"),
    ],
)
def test_recipes_that_cannot_be_sharded_are_refused(recipe: Recipe, message: str, monkeypatch: pytest.MonkeyPatch):
    set_rank(0, 2, monkeypatch)
    with pytest.raises(ValueError, match=message):
        init_state(recipe, (1, 8, 8), 10, replace(CPU, fsdp=True))


def test_sharding_in_one_process_is_refused():
    with pytest.raises(ValueError, match="--fsdp with one process: expected several, started by torchrun"):
        replace(CPU, fsdp=True).resolve()
