"""Whether a model can be sampled from with its settings: the first step is taken with a network of zeros."""

from collections.abc import Sequence
from itertools import islice

from torch import Tensor, nn

from limpid.sampling.pipeline import Pipeline


class ZeroNetwork(nn.Module):
    """A network without weights that returns zeros with this many channels."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor | None) -> Tensor:
        b, _, h, w = x.shape
        return x.new_zeros(b, self.channels, h, w)


def check_first_step(pipeline: Pipeline, labels: Sequence[int] | None) -> None:
    """Take the first sampling step of one image, with the first of `labels` and zeros as the output of the network.

    A guidance model is loaded and evaluated once. Raises ValueError for settings with which no sample can be made.
    """
    net, channels = pipeline.model.net, pipeline.image_shape[0]
    pipeline.model.net = ZeroNetwork(channels * (2 if pipeline.recipe.learned_variance else 1))
    try:
        list(islice(pipeline.trajectory([0], labels=labels and labels[:1]), 2))  # the noise, and the first step
    finally:
        pipeline.model.net = net
