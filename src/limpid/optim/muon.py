"""Muon: momentum whose every matrix is made orthogonal before it is stepped along (Jordan et al. 2024)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the iteration, by Jordan: steep at zero, and within 0.7 to 1.2 of one after five rounds."""
UPDATE_RMS = 0.2
"""The root mean square of a step of Adam, which Muon's is scaled to (Liu et al. 2025), so that both share one rate."""


class MuonOptimizer(torch.optim.AdamW):
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
        lr, decay = self.param_groups[0]["lr"], self.param_groups[0]["weight_decay"]
        alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for weight, ahead in self._ahead():
            alike[ahead.shape].append((weight, ahead))
        turns = newton_schulz([torch.stack([ahead for _, ahead in pairs]) for pairs in alike.values()])
        for pairs, turn in zip(alike.values(), turns, strict=True):
            weights, length = [weight for weight, _ in pairs], UPDATE_RMS * max(turn.shape[1:]) ** 0.5
            torch._foreach_mul_(weights, 1 - lr * decay)  # pyright: ignore[reportPrivateImportUsage]
            torch._foreach_add_(weights, turn.unbind(), alpha=-lr * length)  # pyright: ignore[reportPrivateImportUsage]
        super().step()

    def _ahead(self) -> Iterable[tuple[Float[Tensor, "rows columns"], Float[Tensor, "rows columns"]]]:
        """Each weight and Nesterov's momentum of it, as matrices; its gradient is taken from it, so AdamW passes it."""
        learnt = [(weight, weight.grad) for weight in self.matrices if weight.grad is not None]
        if not learnt:
            return []
        for weight, _ in learnt:
            if not self.state[weight]:
                # AdamW looks for steps in whatever it takes back.
                self.state[weight] = {"momentum": torch.zeros_like(weight), "step": torch.zeros(())}
            weight.grad = None
        memories, gradients = [self.state[weight]["momentum"] for weight, _ in learnt], [g for _, g in learnt]
        torch._foreach_lerp_(memories, gradients, 1 - self.momentum)  # pyright: ignore[reportPrivateImportUsage]
        ahead = torch._foreach_lerp(gradients, memories, self.momentum)  # pyright: ignore[reportPrivateImportUsage]
        return [(as_matrix(weight), as_matrix(step)) for (weight, _), step in zip(learnt, ahead, strict=True)]


def as_matrix(weight: Tensor) -> Float[Tensor, "rows columns"]:
    """A view of a weight with a row for each channel out, its columns as they lie: their order is nothing to Muon."""
    last = weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    return (weight.permute(0, 2, 3, 1) if last else weight).flatten(1)


def newton_schulz(stacks: Sequence[Float[Tensor, "_ _ _"]]) -> list[Float[Tensor, "_ _ _"]]:
    """For each matrix of each stack, with singular values S, U S V^T: about U V^T.

    Five rounds of Newton and Schulz's iteration, x <- (a + b x x^T + c (x x^T)^2) x. All factors commute, so they are
    gathered as square matrices, those of all stacks together, and x is multiplied once: a third of the arithmetic for a
    convolution's weights, and exact enough only in float32.
    """
    wide = [stack if stack.shape[1] <= stack.shape[2] else stack.mT for stack in stacks]
    wide = [x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7) for x in map(torch.Tensor.float, wide)]
    factors: dict[int, Tensor] = {}
    for rows in {x.shape[1] for x in wide}:
        factors[rows] = _factor(torch.cat([x @ x.mT for x in wide if x.shape[1] == rows]))
    turned = []
    for stack, x in zip(stacks, wide, strict=True):
        factor, factors[x.shape[1]] = factors[x.shape[1]].tensor_split([len(x)])
        turn = factor @ x
        turned.append((turn if x.shape == stack.shape else turn.mT).to(stack.dtype))
    return turned


def _factor(square: Float[Tensor, "n rows rows"]) -> Float[Tensor, "n rows rows"]:
    """What the rounds multiply x by, from x x^T."""
    a, b, c = NEWTON_SCHULZ
    factor = None
    for _ in range(5):
        more = torch.baddbmm(square, square, square, beta=b, alpha=c)
        more.diagonal(dim1=1, dim2=2).add_(a)
        square, factor = more @ square @ more, more if factor is None else more @ factor
    assert factor is not None
    return factor
