"""Muon: the momentum of every weight matrix is orthogonalized before the update (Jordan et al. 2024)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of Jordan's iteration, which is steep at 0: after five rounds singular values are within 0.7 to 1.2."""
UPDATE_RMS = 0.2
"""Root mean square of an Adam update, to which Muon's is scaled: one learning rate suits both (Liu et al. 2025)."""


class MuonOptimizer(torch.optim.AdamW):
    """Muon for weight matrices (of convolutions with one row per output channel), AdamW for all other parameters."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        momentum: float,
    ):
        all_parameters = list(parameters)
        self.matrices = [weight for weight in all_parameters if weight.ndim > 1]
        super().__init__(all_parameters, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)
        self.momentum = momentum

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step along the gradients; the gradients of matrices are set to None."""
        lr, decay = self.param_groups[0]["lr"], self.param_groups[0]["weight_decay"]
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for weight, momentum in self._nesterov():
            by_shape[momentum.shape].append((weight, momentum))
        updates = newton_schulz([torch.stack([momentum for _, momentum in pairs]) for pairs in by_shape.values()])
        for pairs, update in zip(by_shape.values(), updates, strict=True):
            weights, scale = [weight for weight, _ in pairs], UPDATE_RMS * max(update.shape[1:]) ** 0.5
            torch._foreach_mul_(weights, 1 - lr * decay)  # pyright: ignore[reportPrivateImportUsage]
            torch._foreach_add_(weights, update.unbind(), alpha=-lr * scale)  # pyright: ignore[reportPrivateImportUsage]
        super().step()

    def _nesterov(self) -> Iterable[tuple[Float[Tensor, "rows columns"], Float[Tensor, "rows columns"]]]:
        """Each weight with a gradient and its Nesterov momentum, as matrices.

        The gradient is set to None, so that AdamW skips the weight.
        """
        trained = [(weight, weight.grad) for weight in self.matrices if weight.grad is not None]
        if not trained:
            return []
        for weight, _ in trained:
            if not self.state[weight]:
                # AdamW's load_state_dict expects a "step" in the state of every parameter.
                self.state[weight] = {"momentum": torch.zeros_like(weight), "step": torch.zeros(())}
            weight.grad = None
        momenta, gradients = [self.state[weight]["momentum"] for weight, _ in trained], [g for _, g in trained]
        torch._foreach_lerp_(momenta, gradients, 1 - self.momentum)  # pyright: ignore[reportPrivateImportUsage]
        nesterov = torch._foreach_lerp(gradients, momenta, self.momentum)  # pyright: ignore[reportPrivateImportUsage]
        return [(as_matrix(weight), as_matrix(step)) for (weight, _), step in zip(trained, nesterov, strict=True)]


def as_matrix(weight: Tensor) -> Float[Tensor, "rows columns"]:
    """A view of a weight with one row per output channel; its columns are in memory order: Muon depends on none."""
    channels_last = weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    return (weight.permute(0, 2, 3, 1) if channels_last else weight).flatten(1)


def newton_schulz(stacks: Sequence[Float[Tensor, "_ _ _"]]) -> list[Float[Tensor, "_ _ _"]]:
    """For each matrix x = U S V^T of each stack, its approximate orthogonalization U V^T.

    Five rounds of the Newton-Schulz iteration, x <- (a + b x x^T + c (x x^T)^2) x. All factors commute, so their
    product is accumulated as a square matrix, batched over all stacks, and x is multiplied once: a third of the
    arithmetic for the weights of a convolution, and accurate enough only in float32.
    """
    wide = [stack if stack.shape[1] <= stack.shape[2] else stack.mT for stack in stacks]
    wide = [x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7) for x in map(torch.Tensor.float, wide)]
    factors: dict[int, Tensor] = {}
    for rows in {x.shape[1] for x in wide}:
        factors[rows] = _factor(torch.cat([x @ x.mT for x in wide if x.shape[1] == rows]))
    orthogonal = []
    for stack, x in zip(stacks, wide, strict=True):
        factor, factors[x.shape[1]] = factors[x.shape[1]].tensor_split([len(x)])
        y = factor @ x
        orthogonal.append((y if x.shape == stack.shape else y.mT).to(stack.dtype))
    return orthogonal


def _factor(square: Float[Tensor, "n rows rows"]) -> Float[Tensor, "n rows rows"]:
    """The product of the factors of all rounds, from x x^T."""
    a, b, c = NEWTON_SCHULZ
    factor = None
    for _ in range(5):
        step = torch.baddbmm(square, square, square, beta=b, alpha=c)
        step.diagonal(dim1=1, dim2=2).add_(a)
        square, factor = step @ square @ step, step if factor is None else step @ factor
    assert factor is not None
    return factor
