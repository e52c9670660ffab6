"""Muon: momentum whose every matrix is made orthogonal before it is stepped along (Jordan et al. 2024)."""

from collections import defaultdict
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of the iteration, by Jordan: steep at zero, and within 0.7 to 1.2 of one after five rounds."""
ADAM_LIKE = 0.2
"""The root mean square of a step of Adam, which Muon's is scaled to (Liu et al. 2025), so that both share one rate."""


class Muon(torch.optim.AdamW):
    """Muon for all weights that are matrices, a convolution's as one row for each channel out; AdamW for the others."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        momentum: float,
    ):
        every = list(parameters)
        self.matrices = [weight for weight in every if weight.ndim > 1]
        super().__init__(every, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)
        self.momentum = momentum

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step along the gradients there are; those of matrices are used up."""
        alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for weight in self.matrices:
            if weight.grad is not None:
                ahead = self._ahead(weight, weight.grad)
                alike[ahead.shape].append((weight, ahead))
                weight.grad = None  # so that AdamW passes it over
        lr, decay = self.param_groups[0]["lr"], self.param_groups[0]["weight_decay"]
        for shape, pairs in alike.items():
            scale = ADAM_LIKE * max(shape) ** 0.5
            for (weight, _), turn in zip(pairs, orthogonal(torch.stack([m for _, m in pairs])), strict=True):
                weight.mul_(1 - lr * decay).sub_(turn.view(weight.shape), alpha=lr * scale)
        super().step()

    def _ahead(self, weight: Tensor, gradient: Tensor) -> Float[Tensor, "rows columns"]:
        """Nesterov's momentum of a weight, as a matrix."""
        memory = self.state[weight]
        if not memory:
            memory["momentum"] = torch.zeros_like(weight)
            memory["step"] = torch.zeros(())  # AdamW looks for it in whatever it takes back
        memory["momentum"].lerp_(gradient, 1 - self.momentum)
        return gradient.lerp(memory["momentum"], self.momentum).flatten(1)


def orthogonal(matrices: Float[Tensor, "n rows columns"]) -> Float[Tensor, "n rows columns"]:
    """For each matrix with singular values S: U S V^T, about U V^T, by five rounds of Newton and Schulz's iteration.

    A round is x <- (a + b x x^T + c (x x^T)^2) x. All its factors commute, so they are gathered as square matrices, and
    x is multiplied once: a third of the arithmetic for a convolution's weights, and exact enough only in float32.
    """
    a, b, c = QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).float()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    square, factor = x @ x.mT, torch.eye(x.shape[1], device=x.device).expand(len(x), -1, -1)
    for _ in range(5):
        more = torch.baddbmm(square, square, square, beta=b, alpha=c)
        more.diagonal(dim1=1, dim2=2).add_(a)
        square, factor = more @ square @ more, more @ factor
    x = factor @ x
    return (x.mT if tall else x).to(matrices.dtype)
