"""Accuracy of a classifier.

On generated images and the labels they were conditioned on, it is a generator's class-conditional accuracy; on real
images, with a classifier trained on generated ones alone, its classification accuracy score (Ravuri and Vinyals 2019).
"""

from jaxtyping import Float, Int
from torch import Tensor

from limpid.metrics.estimate import Estimate, proportion


def accuracy(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Estimate:
    """The proportion of images whose label has the highest logit."""
    return proportion(logits.argmax(1) == labels)
