"""The time to sample an image, measured on the first steps, so that figures fit into a time budget."""

import time
from collections.abc import Sequence
from itertools import islice

import torch

from limpid.sampling.pipeline import Pipeline

PROBE_SIZES = (1, 8, 64)
"""Images in the batches that are measured. A GPU takes as long for a few images as for one, so a time that is too long
for one is measured again with more."""
PROBE_STEPS = 4
"""Steps that are measured, of which the quickest counts: the first one may compile, and any may be interrupted."""
PROBE_SHARE = 0.1
"""Fraction of the budget that measuring a larger batch may take."""


def seconds_per_image(pipeline: Pipeline, labels: Sequence[int] | None, n: int, budget: float) -> float:
    """Seconds to sample one of n images, or an upper bound: measuring ends as soon as n images fit into the budget.

    `labels` has a class for each of the n images.
    """
    seconds = torch.inf
    for size in PROBE_SIZES:
        cost = size * seconds * PROBE_STEPS / pipeline.recipe.sampling.steps
        if size > 1 and cost > PROBE_SHARE * budget:
            break
        try:
            seconds = min(seconds, probe(pipeline, labels and labels[:size], min(size, n), budget / n))
        except torch.OutOfMemoryError:  # sampling itself then takes smaller batches
            break
        if n * seconds <= budget:
            break
    return seconds


def probe(pipeline: Pipeline, labels: Sequence[int] | None, size: int, enough: float) -> float:
    """Seconds to sample one image in a batch of this size, by the quickest of its first steps, or the first that is
    quick `enough`."""
    steps, quickest = pipeline.trajectory(range(size), labels=labels), torch.inf
    next(steps)  # the noise
    begin = time.perf_counter()
    for step in islice(steps, PROBE_STEPS):
        step.x[0, 0, 0, 0].item()  # waits for the device
        now = time.perf_counter()
        begin, quickest = now, min(quickest, (now - begin) * pipeline.recipe.sampling.steps / size)
        if quickest <= enough:
            break
    return quickest
