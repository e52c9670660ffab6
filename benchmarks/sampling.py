"""A network evaluation, the unit of all sampling, against other projects' evaluations of the same network, by turns.

    python benchmarks/sampling.py [--batches 16 64] [--quick]

Also: guidance as limpid computes it, both outputs in one batch, against one after the other.
"""

from dataclasses import replace
from functools import partial

import torch
from paired import Contestant, arguments, duel, parse_options, save_duels
from peers import SHAPE, common_evaluation, diffusers_evaluation, limpid_evaluation, recipe_of

from limpid.bench.timing import Work
from limpid.diffusion.guidance import Guidance, guide_away_from
from limpid.diffusion.schedules import sampling_levels
from limpid.recipes.recipe import build_denoiser
from limpid.runtime.device import Runtime
from limpid.sampling.sample import make_denoiser, seeded_noise


def main() -> None:
    """Measure all pairs, and write JSON and plots."""
    parser = arguments(__doc__ or "", "sampling")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64])
    options = parse_options(parser)
    together, apart = (
        Contestant("both guesses in one batch", guided_evaluation, (True,)),
        Contestant("by turns", guided_evaluation, (False,)),
    )
    if options.quick:
        pairs = [("cifar10-small", 2, *contestants("cifar10-small")[0])]
    else:
        pairs = [("cifar10", batch, *pair) for batch in options.batches for pair in contestants("cifar10")]
        pairs += [("cifar10-small", 64, *pair) for pair in contestants("cifar10-small")]
        pairs += [("cifar10-small, guided", batch, together, apart, 0.0) for batch in (1, 8, 64)]
    save_duels([duel(*pair, options) for pair in pairs], options)


def contestants(network: str) -> list[tuple[Contestant, Contestant, float]]:
    """Pairs of contestants, and the target ratio of their speeds."""
    limpid, limpid_float32 = (
        Contestant(f"limpid, {p}", limpid_evaluation, (network, p)) for p in ("bfloat16", "float32")
    )
    diffusers, diffusers_bfloat16 = (
        Contestant(f"diffusers, {p}", diffusers_evaluation, (network, p)) for p in ("float32", "bfloat16")
    )
    pairs = [(limpid, diffusers, 2.0), (limpid, diffusers_bfloat16, 1.2), (limpid_float32, diffusers, 0.0)]
    common = Contestant("as commonly written, float32", common_evaluation)
    return [*pairs, (limpid, common, 2.0)] if network == "cifar10" else pairs


def guided_evaluation(together: bool, device: str, batch: int) -> Work:
    """A guided evaluation of `cifar10-small` with classes: one batch of twice the size, or two batches."""
    runtime, recipe = (
        Runtime(device).resolve().setup(),
        replace(recipe_of("cifar10-small", batch), class_conditional=True),
    )
    model = runtime.to_device(build_denoiser(recipe, SHAPE, 10)).eval()
    labels = torch.arange(batch, device=runtime.device) % 10
    recipe = replace(recipe, label_dropout=0.1, sampling=replace(recipe.sampling, guidance=Guidance(2.0)))
    level = sampling_levels(recipe.sampling_schedule, 2)[1]
    x = level.sigma * seeded_noise(range(batch), SHAPE, runtime.device)()
    if together:
        return partial(make_denoiser(model, recipe, labels, runtime), x, level)
    plain = replace(recipe, sampling=replace(recipe.sampling, guidance=Guidance()))
    strong, weak = (make_denoiser(model, plain, y, runtime) for y in (labels, torch.full_like(labels, 10)))
    return partial(guide_away_from(strong, weak, recipe.sampling.guidance), x, level)


if __name__ == "__main__":
    main()
