"""What the tests of FID's network share: weights of its shapes. The published ones cannot be had without a network."""

import pytest
import torch
from torch import Tensor

from limpid.metrics.extractors.inception import Inception


@pytest.fixture(scope="session")
def random_weights() -> dict[str, Tensor]:
    """Random weights under the published names, of the scale that keeps the activations of every layer near 1."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, tensor in Inception().state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith(("bn.weight", "running_var")):
            weights[name] = 1 + 0.2 * noise.tanh()
        elif tensor.ndim > 1:
            weights[name] = noise * (2 / tensor[0].numel()) ** 0.5
        elif tensor.is_floating_point():
            weights[name] = 0.2 * noise
    return weights


@pytest.fixture(scope="session")
def network(random_weights: dict[str, Tensor]) -> Inception:
    """Inception with these weights, as it is loaded for use."""
    inception = Inception()
    inception.load_state_dict(random_weights, strict=False)
    return inception.fold()
