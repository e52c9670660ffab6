"""A look of the network, the unit of all sampling, against other projects' looks of the same network, by turns.

    python benchmarks/sampling.py [--batches 16 64] [--quick]

Besides: guidance as limpid computes it, both guesses in one batch, against one after the other.
"""

from dataclasses import replace
from functools import partial

import torch
from paired import Contestant, arguments, duel, parse_options, written
from peers import SHAPE, common_evaluation, diffusers_evaluation, limpid_evaluation, recipe_of

from limpid.bench.timing import Work
from limpid.diffusion.guidance import Guidance, guide_away_from
from limpid.diffusion.schedules import sampling_levels
from limpid.recipes.recipe import build_denoiser
from limpid.runtime.device import Runtime
from limpid.sampling.sample import make_denoiser, seeded_noise


def main() -> None:
    """Measure all pairs, and write down what came of it."""
    parser = arguments(__doc__ or "", "sampling")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64])
    options = parse_options(parser)
    together, apart = Contestant("both guesses in one batch", both, (True,)), Contestant("by turns", both, (False,))
    if options.quick:
        pairs = [("cifar10-small", 2, *between("cifar10-small")[0])]
    else:
        pairs = [("cifar10", batch, *pair) for batch in options.batches for pair in between("cifar10")]
        pairs += [("cifar10-small", 64, *pair) for pair in between("cifar10-small")]
        pairs += [("cifar10-small, guided", batch, together, apart, 0.0) for batch in (1, 8, 64)]
    written([duel(*pair, options) for pair in pairs], options)


def between(network: str) -> list[tuple[Contestant, Contestant, float]]:
    """Who meets whom, and how many times as fast is wanted at least."""
    ours, ours32 = (Contestant(f"limpid, {p}", limpid_evaluation, (network, p)) for p in ("bfloat16", "float32"))
    theirs, theirs16 = (
        Contestant(f"diffusers, {p}", diffusers_evaluation, (network, p)) for p in ("float32", "bfloat16")
    )
    pairs = [(ours, theirs, 2.0), (ours, theirs16, 1.2), (ours32, theirs, 0.0)]
    common = Contestant("as commonly written, float32", common_evaluation)
    return [*pairs, (ours, common, 2.0)] if network == "cifar10" else pairs


def both(together: bool, device: str, batch: int) -> Work:
    """A guided look of `cifar10-small` with classes: one batch of twice the size, or two batches."""
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
    strong, weak = (make_denoiser(model, plain, told, runtime) for told in (labels, torch.full_like(labels, 10)))
    return partial(guide_away_from(strong, weak, recipe.sampling.guidance), x, level)


if __name__ == "__main__":
    main()
