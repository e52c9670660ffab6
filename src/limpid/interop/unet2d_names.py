"""The tensors of a `UNet` by their names in diffusers' `UNet2DModel`, and back: no value changes.

Queries, keys and values are one matrix in limpid and three in diffusers; the modulations of all blocks are one matrix
in limpid, and a `time_emb_proj` of each block in diffusers; 1x1 convolutions of attention are linear layers there.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from limpid.nets import UNet

Layers = dict[str, list[str]]
"""The layers of a part by their names in limpid, each with those in diffusers that make it."""
RESIDUAL: Layers = {
    "norm1": ["norm1"],
    "conv1": ["conv1"],
    "norm2": ["norm2"],
    "conv2": ["conv2"],
    "shortcut": ["conv_shortcut"],
}
ATTENTION: Layers = {"norm": ["group_norm"], "qkv": ["to_q", "to_k", "to_v"], "out": ["to_out.0"]}
CONV: Layers = {"conv": ["conv"]}
ENDS: Layers = {
    "embedding.mlp.0": ["time_embedding.linear_1"],
    "embedding.mlp.2": ["time_embedding.linear_2"],
    "embedding.labels": ["class_embedding"],
    "enter": ["conv_in"],
    "norm": ["conv_norm_out"],
    "leave": ["conv_out"],
}
FORMER_ATTENTION = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
"""Attention before diffusers 0.15, as in google/ddpm-*: the names then and now."""
FREQUENCIES, MODULATION = "embedding.mlp.0.weight", "embedding.to_modulation"


def unet_parts(config: UNet) -> Iterator[tuple[str, str, Layers]]:
    """(prefix in limpid, prefix in diffusers, layers) for every part that a U-Net can have, in the order of its maps.

    A network has not all of them: a shortcut only where the channels change, attention only on some levels.
    """
    resample = CONV if config.resample == "conv" else RESIDUAL

    def side(name: str, blocks: int) -> Iterator[tuple[str, str, Layers]]:
        for level in range(len(config.channel_mult)):
            first = level * (blocks + 1)
            for block in range(blocks):
                yield f"{name}.{first + block}.residual.", f"{name}_blocks.{level}.resnets.{block}.", RESIDUAL
                yield f"{name}.{first + block}.attention.", f"{name}_blocks.{level}.attentions.{block}.", ATTENTION
            yield f"{name}.{first + blocks}.", f"{name}_blocks.{level}.{name}samplers.0.", resample

    yield "", "", ENDS
    yield from side("down", config.each_blocks[0])
    yield "middle.0.residual.", "mid_block.resnets.0.", RESIDUAL
    yield "middle.0.attention.", "mid_block.attentions.0.", ATTENTION
    yield "middle.1.residual.", "mid_block.resnets.1.", RESIDUAL
    yield from side("up", config.each_blocks[0] + 1)


def unet2d_layers(config: UNet) -> dict[str, list[str]]:
    """Every layer that a U-Net can have, by its name in limpid, with the layers of diffusers that make it."""
    layers = {
        f"{prefix}{layer}": [f"{diffusers_prefix}{name}" for name in names]
        for prefix, diffusers_prefix, table in unet_parts(config)
        for layer, names in table.items()
    }
    blocks = [diffusers_prefix for _, diffusers_prefix, table in unet_parts(config) if table is RESIDUAL]
    return {**layers, MODULATION: [f"{diffusers_prefix}time_emb_proj" for diffusers_prefix in blocks]}


def unet2d_tensors(config: UNet, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a `UNet` under the names and in the shapes of diffusers."""
    widths = modulation_widths(config, tensors)
    result = {}
    for layer, names in unet2d_layers(config).items():
        for kind in ("weight", "bias"):
            if (tensor := tensors.get(f"{layer}.{kind}")) is None:
                continue
            if layer == MODULATION:
                parts = dict(zip(widths, tensor.split(list(widths.values())), strict=True))
            else:
                parts = dict(zip(names, tensor.chunk(len(names)), strict=True))
            linear = "attention" in layer and tensor.ndim == 4
            result |= {f"{name}.{kind}": part[:, :, 0, 0] if linear else part for name, part in parts.items()}
    return result | {"time_embedding.linear_1.weight": spread_columns(tensors[FREQUENCIES], config.channel_mult[0])}


def unet_tensors(config: UNet, tensors: Mapping[str, Tensor], cosines_first: bool = False) -> dict[str, Tensor]:
    """The tensors of diffusers' network under the names and in the shapes of limpid.

    `cosines_first` is diffusers' `flip_sin_to_cos`. Raises ValueError for a tensor that has no place.
    """
    left = {_new_name(name): tensor for name, tensor in tensors.items()}
    result = {}
    for layer, names in unet2d_layers(config).items():
        for kind in ("weight", "bias"):
            if parts := [left.pop(key) for name in names if (key := f"{name}.{kind}") in left]:
                tensor = torch.cat(parts)
                linear = "attention" in layer and tensor.ndim == 2
                result[f"{layer}.{kind}"] = tensor[:, :, None, None] if linear else tensor
    if left:
        raise ValueError(f"{len(left)} of its tensors have no place in a U-Net, {min(left)[:80]!r} for one")
    if (weight := result.get(FREQUENCIES)) is not None and weight.ndim == 2:
        weight = weight.roll(weight.shape[1] // 2, dims=1) if cosines_first else weight
        spread = config.channel_mult[0] if weight.shape[1] > config.model_channels else 1
        result[FREQUENCIES] = weight[:, ::spread].contiguous()
        if not torch.equal(spread_columns(result[FREQUENCIES], spread), weight):
            raise ValueError("its time embedding is of more frequencies than the width of the network has")
    return result


def modulation_widths(config: UNet, tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """The outputs of each `time_emb_proj` of diffusers, by its name, in the order in which limpid joins them."""
    outputs = 2 if config.scale_shift else 1
    return {
        f"{diffusers_prefix}time_emb_proj": outputs * len(tensors[f"{prefix}conv1.bias"])
        for prefix, diffusers_prefix, table in unet_parts(config)
        if table is RESIDUAL and f"{prefix}conv1.bias" in tensors
    }


def spread_columns(weight: Tensor, multiple: int) -> Tensor:
    """The columns of the first embedding layer as every `multiple`-th one of a wider layer, the others 0.

    diffusers makes a sinusoid as wide as the first level; of its frequencies every k-th is one of limpid's, which are
    as many as `model_channels`, a k-th of that.
    """
    if multiple == 1:
        return weight
    spread = weight.new_zeros(len(weight), weight.shape[1] * multiple)
    spread[:, ::multiple] = weight
    return spread


def _new_name(name: str) -> str:
    for before, now in FORMER_ATTENTION.items():
        name = name.replace(before, now) if "attentions." in name else name
    return name
