"""An optimizer continues from its saved state."""

import pytest
import torch

from limpid.optim.optimizers import AdamW, Muon
from limpid.runtime.rng import generator
from limpid.training.optimizer_state import optimizer_tensors, restore_optimizer


@pytest.mark.parametrize("kind", [AdamW, Muon])
def test_an_optimizer_continues_from_its_saved_state(kind: type[AdamW] | type[Muon]):
    def take_steps(parameters: list[torch.Tensor], optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
        for step in range(first, last):
            for index, parameter in enumerate(parameters):
                parameter.grad = torch.randn(parameter.shape, generator=generator("cpu", step, index))
            optimizer.step()

    def build() -> tuple[list[torch.Tensor], torch.optim.Optimizer]:
        kernel = torch.ones(4, 3, 3, 3).to(memory_format=torch.channels_last)
        parameters = [kernel.requires_grad_(), torch.ones(4, requires_grad=True)]
        return parameters, kind().build(parameters)

    straight, optimizer = build()
    take_steps(straight, optimizer, 0, 6)
    stopped, optimizer = build()
    take_steps(stopped, optimizer, 0, 3)
    resumed, restored = build()
    for new, old in zip(resumed, stopped, strict=True):
        new.data.copy_(old.data)
    restore_optimizer(restored, optimizer_tensors(optimizer))
    take_steps(resumed, restored, 3, 6)
    assert all(torch.equal(a, b) for a, b in zip(straight, resumed, strict=True))
