"""A run or a sampler that is out of memory continues with smaller micro-batches, and computes the same."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from run_faults import limit_memory
from run_results import same_weights
from tiny_recipes import CPU, LOGGED_TWICE, SHORT
from torch.testing import assert_close

from limpid.diffusion.denoiser import Timestep
from limpid.diffusion.level_sampling import LossSecondMoment
from limpid.diffusion.schedules import Cosine
from limpid.recipes.recipe import Recipe, build_denoiser
from limpid.sampling.pipeline import Pipeline
from limpid.storage import jsonl
from limpid.training import accumulate, loop
from limpid.training.run import run
from limpid.training.state import init_state

pytestmark = pytest.mark.usefixtures("no_final_figures")


RECIPES = {
    "plain": LOGGED_TWICE,
    "uncertainty weighting": replace(LOGGED_TWICE, uncertainty_weighting=True, level_sampler=LossSecondMoment(bins=4)),
    "learned variance": replace(
        LOGGED_TWICE, learned_variance=True, schedule=Cosine(T=100), noise_conditioning=Timestep(steps=100)
    ),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_micro_batches_give_the_losses_and_gradients_of_the_batch(recipe: Recipe):
    losses, gradients = [], []
    for micro_batch in (16, 5):
        runtime = replace(CPU, micro_batch=micro_batch)
        source = recipe.data.open("cpu")
        state = init_state(recipe, source.shape, len(source.class_names), runtime)
        noisy = loop.make_noisy_batch(state, recipe, *next(source.batches(0, 16, 0)))
        losses.append(accumulate.forward_backward(state, recipe, noisy, runtime))
        weights = [weight for group in state.optimizer.param_groups for weight in group["params"]]
        gradients.append(torch.cat([weight.grad.flatten() for weight in weights]))
    assert_close(*losses, rtol=1e-4, atol=1e-6)
    assert (gradients[0] - gradients[1]).norm() < 1e-4 * gradients[0].norm()


def test_a_run_in_micro_batches_is_the_same_up_to_rounding(tmp_path: Path):
    for folder, runtime in ((tmp_path / "one", CPU), (tmp_path / "three", replace(CPU, micro_batch=6))):
        assert run(LOGGED_TWICE, folder, runtime)
    one, three = (jsonl.read_jsonl(tmp_path / name / "log.jsonl") for name in ("one", "three"))
    assert [line["loss"] for line in three] == pytest.approx([line["loss"] for line in one], rel=1e-3)


def test_a_run_out_of_memory_continues_with_half_the_micro_batch(tmp_path: Path, monkeypatch, capsys):
    assert run(LOGGED_TWICE, tmp_path / "expected", replace(CPU, micro_batch=4))
    assert capsys.readouterr().err == ""
    limit_memory(7, monkeypatch)
    assert run(LOGGED_TWICE, tmp_path / "halved", CPU)
    output = capsys.readouterr().err.splitlines()
    assert output == [f"limpid: out of memory: from now on {n} images at a time, of the same batch" for n in (8, 4)]
    assert same_weights(tmp_path / "expected", tmp_path / "halved")


def test_a_sampler_out_of_memory_continues_with_half_the_batch(monkeypatch, capsys):
    denoiser, trajectory = build_denoiser(SHORT, (1, 8, 8), 10), Pipeline.trajectory
    pipeline = Pipeline(denoiser, SHORT, (1, 8, 8), runtime=CPU)

    def limited(self: Pipeline, seeds, *, labels=None):
        if len(seeds) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        yield from trajectory(self, seeds, labels=labels)

    def sample(batch_size: int) -> list[torch.Tensor]:
        return list(pipeline.sample_batches(range(14), [3] * 14, batch_size))

    expected = sample(3)
    monkeypatch.setattr(Pipeline, "trajectory", limited)
    halved = sample(12)
    assert [len(pixels) for pixels in halved] == [12, 2]
    assert (torch.cat(halved).int() - torch.cat(expected).int()).abs().max() <= 1
    output = capsys.readouterr().err.splitlines()
    assert output == [f"limpid: out of memory: from now on {n} images at a time, of the same batch" for n in (6, 3)]


def test_too_little_memory_for_one_image_is_an_error_of_one_line(tmp_path: Path, monkeypatch):
    limit_memory(0, monkeypatch)
    with pytest.raises(
        MemoryError, match=r"^out of memory with one image at a time: CUDA out of memory. Tried to"
    ) as error:
        run(LOGGED_TWICE, tmp_path, CPU)
    assert "\n" not in str(error.value)
