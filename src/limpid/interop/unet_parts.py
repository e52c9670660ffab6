"""A U-Net from the sequence of its blocks, whose tensors tell its widths, levels and attention.

The published U-Nets of one family differ in the names of their tensors only: each reader sorts those of its program
into parts, and here the parts become a `UNet` and its state.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limpid.interop.foreign_model import with_plain_groups
from limpid.nets import UNet

Part = dict[str, Tensor]
"""The tensors of one block by their names in limpid, and the projection of the embedding as "emb"; a block that
resamples has a "conv", or the layers of a residual block without the prefix `residual`."""


@dataclass(frozen=True)
class UNetParts:
    """The tensors of a U-Net in the order in which it runs."""

    ends: Part
    down: Sequence[Part]
    """The encoder without its first convolution: the blocks of a level, then the one that downsamples."""
    middle: Sequence[Part]
    up: Sequence[Part]


def unet_from_parts(parts: UNetParts, like: UNet, size: int) -> tuple[UNet, dict[str, Tensor]]:
    """The network, with what its tensors cannot tell from `like`, and its state; attention is of `size` images.

    Raises ValueError if the parts are none of such a network.
    """
    levels = 1 + sum(not is_block(part) for part in parts.up)
    blocks, rest = divmod(len(parts.up) + 1, levels)
    blocks -= 2
    if rest or blocks < 1 or len(parts.down) != levels * (blocks + 1) - 1 or len(parts.middle) != 2:
        raise ValueError(
            f"{len(parts.down)} and {len(parts.up)} blocks: expected as many in each of its {levels} levels"
        )
    down = [_without_prefix(part) if i % (blocks + 1) == blocks else part for i, part in enumerate(parts.down)]
    firsts = down[:: blocks + 1]
    if not all(map(is_block, firsts)):
        raise ValueError("its blocks are not in the order of a U-Net")
    width = parts.ends["embedding.mlp.0.weight"].shape[1]
    widths = [len(part["residual.conv2.bias"]) for part in firsts]
    if any(each % width for each in widths) or len(parts.ends["enter.bias"]) != widths[0]:
        raise ValueError(f"channels {', '.join(map(str, widths))}: expected multiples of {width}")
    network = replace(
        like,
        model_channels=width,
        channel_mult=tuple(each // width for each in widths),
        num_blocks=blocks,
        attn_resolutions=tuple(size // 2**i for i in range(levels) if "attention.qkv.weight" in firsts[i]),
        scale_shift=len(firsts[0]["emb.bias"]) == 2 * widths[0],
        resample="conv" if levels == 1 or "conv.weight" in down[blocks] else "biggan",
    )
    named = {
        f"{side}.{i}.{name}": tensor
        for side, each in (("down", down), ("middle", parts.middle), ("up", parts.up))
        for i, part in enumerate(each)
        for name, tensor in part.items()
        if not name.startswith("emb.")
    }
    modulated = [part for part in (*down, *parts.middle, *parts.up) if "emb.weight" in part]
    for kind in ("weight", "bias"):
        named[f"embedding.to_modulation.{kind}"] = torch.cat([part[f"emb.{kind}"] for part in modulated])
    return with_plain_groups(network), parts.ends | named


def is_block(part: Part) -> bool:
    """Whether a part is a residual block of a level, not one between levels."""
    return "residual.conv1.weight" in part


def renamed_part(tensors: dict[str, Tensor], prefix: str, layers: dict[str, str]) -> Part:
    """The tensors below `prefix` that `layers` names, removed from `tensors`: the names there, and in limpid."""
    found = {}
    for theirs, name in layers.items():
        for kind in ("weight", "bias"):
            if (tensor := tensors.pop(f"{prefix}{theirs}.{kind}", None)) is not None:
                found[f"{name}.{kind}"] = tensor
    return found


def refuse_unused(tensors: dict[str, Tensor]) -> None:
    """Raise ValueError if a tensor was not taken."""
    if tensors:
        raise ValueError(f"{len(tensors)} of its tensors have no place in a U-Net, {min(tensors)[:80]!r} for one")


def block_prefixes(tensors: dict[str, Tensor], prefix: str) -> list[str]:
    """The prefixes `prefix.0.`, `prefix.1.`, ... as far as there are tensors of them."""
    numbers = {
        int(rest) for name in tensors if name.startswith(f"{prefix}.") and (rest := name.split(".")[1]).isdecimal()
    }
    return [f"{prefix}.{i}." for i in sorted(numbers)]


def _without_prefix(part: Part) -> Part:
    return {name.removeprefix("residual."): tensor for name, tensor in part.items()}
