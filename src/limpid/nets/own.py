"""A network of the user: any nn.Module that is called as net(x, c_noise, labels)."""

import copy
from dataclasses import dataclass, field

from torch import nn


@dataclass(frozen=True)
class OwnNetwork:
    """A module from Python. A recipe file holds its name alone: pass the module again to resume or load the run."""

    name: str = ""
    parameters: int = 0
    module: nn.Module | None = field(default=None, compare=False, repr=False)

    def build(self, image_shape: tuple[int, int, int], num_classes: int = 0, out_multiplier: int = 1) -> nn.Module:
        """A copy of the module, with its weights. Raises ValueError if the module was not passed again."""
        if self.module is None:
            raise ValueError(f"the network is {self.name}, not one of limpid's: pass such a module as network=...")
        return copy.deepcopy(self.module)


def own_network(module: nn.Module) -> OwnNetwork:
    """A module of the user as the network of a recipe."""
    name = f"{type(module).__module__}:{type(module).__qualname__}"
    return OwnNetwork(name, sum(weight.numel() for weight in module.parameters()), module)
