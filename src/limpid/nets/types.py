"""Names for the shapes of tensors in networks."""

from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor

FeatureMap: TypeAlias = Float[Tensor, "b _ _ _"]
"""Of any size, where a function changes the size."""
Heads: TypeAlias = Float[Tensor, "b heads n d"]
ImageBatch: TypeAlias = Float[Tensor, "b c h w"]
PerChannel: TypeAlias = Float[Tensor, "b c"]
