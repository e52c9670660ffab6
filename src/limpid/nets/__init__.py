"""Networks: frozen dataclasses that build modules net(x, c_noise, labels) -> y, independent of diffusion and data."""

from typing import TypeAlias

from limpid.nets.dit import DiT
from limpid.nets.own import OwnNetwork, own_network
from limpid.nets.unet import UNet

Network: TypeAlias = UNet | DiT | OwnNetwork

__all__ = ["DiT", "Network", "OwnNetwork", "UNet", "own_network"]
