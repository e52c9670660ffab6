"""The Inception score, exp E KL(p(y | x) || p(y)): high if each image is clearly of one class and all classes occur
(Salimans et al. 2016)."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from limpid.metrics.estimate import Estimate, mean_of


def inception_score(logits: Float[Tensor, "n k"], generator: torch.Generator, splits: int = 10) -> Estimate:
    """The mean over equal splits of the rows in random order: from 1 (all alike) to k (certain and balanced).

    It grows with n / splits: compare only scores with equal n and splits. The +- of the papers is the standard
    deviation over the splits, which is sqrt(splits) times the standard error of this estimate. Raises ValueError for
    fewer than two splits, or fewer rows than splits.
    """
    if not 2 <= splits <= len(logits):
        raise ValueError(f"{splits} splits of {len(logits)} rows: expected at least two splits with a row in each")
    order = torch.randperm(len(logits), generator=generator, device=generator.device).to(logits.device)
    return mean_of(torch.stack([_score(logits[rows]) for rows in order.tensor_split(splits)]).cpu())


def _score(logits: Float[Tensor, "n k"]) -> Float64[Tensor, ""]:
    """exp(H(mean p) - mean H(p)), with H the entropy: the difference is the mean KL divergence from the marginal."""
    p = logits.double().softmax(1)
    return (torch.special.entr(p.mean(0)).sum() - torch.special.entr(p).sum(1).mean()).exp()
