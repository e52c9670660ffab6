"""The Inception score, exp E KL(p(y | x) || p(y)): are images clear, and of many classes? (Salimans et al. 2016)"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from limpid.metrics.estimate import Estimate, mean_of


def inception_score(logits: Float[Tensor, "n k"], generator: torch.Generator, splits: int = 10) -> Estimate:
    """The mean over equal splits of the rows in random order: from 1, all alike, to k, clear and balanced.

    It grows with n / splits, so only equal ones compare. The +- of the papers is the standard deviation of the splits,
    sqrt(splits) times the error given here. Raises ValueError unless there are two splits or more, each with a row.
    """
    if not 2 <= splits <= len(logits):
        raise ValueError(f"{splits} splits of {len(logits)} rows: expected at least two splits with a row in each")
    order = torch.randperm(len(logits), generator=generator, device=generator.device).to(logits.device)
    return mean_of(torch.stack([_score(logits[rows]) for rows in order.tensor_split(splits)]).cpu())


def _score(logits: Float[Tensor, "n k"]) -> Float64[Tensor, ""]:
    """exp of the entropy of the mean law less the mean entropy, which is the mean divergence."""
    shares = logits.double().softmax(1)
    return (torch.special.entr(shares.mean(0)).sum() - torch.special.entr(shares).sum(1).mean()).exp()
