"""The optimizer and its learning rate, which is a function of the number of images seen."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from limpid.optim import muon

Decay: TypeAlias = Literal["none", "linear", "cosine"]
"""Decay of the learning rate to zero at the end of a run."""


@dataclass(frozen=True)
class OptimizerOptions:
    """What every optimizer has."""

    lr: float = 2e-4
    """Learning rate at its peak."""
    warmup_images: int = 0
    """Images of the linear warm-up from zero."""
    lr_schedule: Decay = "none"
    """Decay of the learning rate to zero at the end of the run."""
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    """Largest norm of the gradient over all parameters of the network."""

    def __post_init__(self) -> None:
        finite = (self.lr, self.weight_decay, self.warmup_images)
        if not all(0 <= number < math.inf for number in finite) or not self.max_grad_norm > 0:
            given = f"lr {self.lr}, weight_decay {self.weight_decay}, warmup_images {self.warmup_images}"
            given += f", max_grad_norm {self.max_grad_norm}"
            raise ValueError(f"{given}: expected finite numbers from 0 up, and a max_grad_norm above 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas {self.betas}: expected two numbers from 0 up and below 1")


@dataclass(frozen=True)
class AdamW(OptimizerOptions):
    """Adam (Kingma and Ba 2015) with decoupled weight decay, a linear warm-up and a decay to zero."""

    def build(self, parameters: Iterable[Tensor]) -> torch.optim.AdamW:
        """The optimizer of these parameters."""
        return torch.optim.AdamW(parameters, lr=self.lr, betas=self.betas, weight_decay=self.weight_decay, fused=True)


@dataclass(frozen=True)
class Muon(OptimizerOptions):
    """Muon (Jordan et al. 2024) for matrices and convolutions, AdamW for all other parameters, at one learning rate.

    A step of Muon is scaled to the size of one of Adam (Liu et al. 2025), so that one learning rate suits both.
    """

    momentum: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum {self.momentum}: expected a number from 0 up and below 1")

    def build(self, parameters: Iterable[Tensor]) -> muon.MuonOptimizer:
        """The optimizer of these parameters."""
        return muon.MuonOptimizer(parameters, self.lr, self.betas, self.weight_decay, self.momentum)


Optimizer: TypeAlias = AdamW | Muon


def lr_at(optimizer: Optimizer, images_seen: int, duration: int) -> float:
    """The learning rate of the step with which `images_seen` is reached, in a run of `duration` images."""
    warmup = min(1.0, images_seen / optimizer.warmup_images) if optimizer.warmup_images else 1.0
    left = max(0.0, 1 - images_seen / duration)
    decay = {"none": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}[optimizer.lr_schedule]
    return optimizer.lr * warmup * decay
