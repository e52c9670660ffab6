"""A `UNet` as the config.json of diffusers' `UNet2DModel`, and back."""

from typing import Any, Literal

import torch

from limpid.interop.foreign_model import with_plain_groups
from limpid.nets import Network, UNet
from limpid.nets.arch import ARCHS, ArchName
from limpid.nets.norm import GroupNorm
from limpid.recipes.serialize import from_dict
from limpid.storage.checkpoint import Plain

DOWN = {"DownBlock2D": ("conv", False), "AttnDownBlock2D": (None, True), "ResnetDownsampleBlock2D": ("biggan", False)}
"""Blocks of the encoder: how each resamples, None for as the config says, and whether it has attention."""
UP = {"UpBlock2D": ("conv", False), "AttnUpBlock2D": (None, True), "ResnetUpsampleBlock2D": ("biggan", False)}
DEFAULTS: Plain = {
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [224, 448, 672, 896],
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "dropout": 0.0,
    "act_fn": "silu",
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
    "num_class_embeds": None,
    "num_train_timesteps": None,
}
"""The fields of `UNet2DModel` and their defaults in diffusers 0.42."""
REQUIRED: dict[str, tuple[Any, ...]] = {
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "act_fn": ("silu", "swish"),
    "add_attention": (True,),
    "class_embed_type": (None,),
}
"""Fields with the values that limpid has an equal for."""


def unet2d_config(network: Network, shape: tuple[int, int, int], num_classes: int, out_multiplier: int) -> Plain:
    """The fields of the config.json whose `UNet2DModel` is this network, for images of `shape`.

    Raises ValueError, with every reason, for a network that is none.
    """
    if reasons := unet2d_reasons(network, shape):
        raise ValueError("; ".join(reasons))
    assert isinstance(network, UNet)
    channels, height, width = shape
    levels, biggan = range(len(network.channel_mult)), network.resample == "biggan"
    attends = [min(height, width) // 2**level in network.attn_resolutions for level in levels]
    plain = "Resnet{}sampleBlock2D" if biggan else "{}Block2D"
    (num_groups,) = norm_groups(network, shape)
    return {
        "_class_name": "UNet2DModel",
        "sample_size": height if height == width else [height, width],
        "in_channels": channels,
        "out_channels": out_multiplier * channels,
        "time_embedding_type": "positional",
        "time_embedding_dim": 4 * network.model_channels,
        "flip_sin_to_cos": False,
        "freq_shift": network.channel_mult[0] if network.details.endpoint else 0,
        "center_input_sample": False,
        "act_fn": "silu",
        "layers_per_block": network.each_blocks[0],
        "block_out_channels": [network.model_channels * multiple for multiple in network.channel_mult],
        "down_block_types": ["AttnDownBlock2D" if attention else plain.format("Down") for attention in attends],
        "up_block_types": ["AttnUpBlock2D" if attention else plain.format("Up") for attention in reversed(attends)],
        "attention_head_dim": network.head_channels or None,
        "add_attention": True,
        "downsample_padding": network.details.downsample_padding,
        "downsample_type": "resnet" if biggan else "conv",
        "upsample_type": "resnet" if biggan else "conv",
        "dropout": network.dropout,
        "norm_eps": network.details.norm_eps,
        "norm_num_groups": num_groups,
        "attn_norm_num_groups": num_groups,
        "mid_block_scale_factor": 1,
        "resnet_time_scale_shift": "scale_shift" if network.scale_shift else "default",
        "num_class_embeds": num_classes + 1 if num_classes else None,
    }


def unet2d_reasons(network: Network, shape: tuple[int, int, int]) -> list[str]:
    """Every reason why a network is no `UNet2DModel`; none if it is one."""
    if not isinstance(network, UNet):
        return [f"the network is a {type(network).__name__}, and diffusers' UNet2DModel is a U-Net"]
    details, reasons = network.details, []
    if network.patch_size > 1:
        reasons.append(f"patch_size {network.patch_size}: UNet2DModel has no patches of pixels")
    if len(set(network.each_blocks)) > 1:
        reasons.append(f"num_blocks {network.num_blocks}: UNet2DModel has as many in each level")
    if len(numbers := norm_groups(network, shape)) > 1:
        given = ", ".join(map(str, sorted(numbers)))
        reasons.append(f"its norms have {given} groups: UNet2DModel has one number (--network.norm-num-groups)")
    if network.fourier_std:
        reasons.append(f"fourier_std {network.fourier_std:g}: UNet2DModel embeds the noise level by a sinusoid")
    if details.skip_scale != 1 or details.attention_up != "all" or details.enter != "level" or details.one_hot:
        reasons.append(f"arch {network.arch}: UNet2DModel is like ddpm or iddpm")
    return reasons


def norm_groups(network: UNet, shape: tuple[int, int, int]) -> set[int]:
    """The numbers of groups that the norms of a network have."""
    with torch.device("meta"):
        return {part.groups for part in network.build(shape, 0).modules() if isinstance(part, GroupNorm)}


def unet_from_config(config: Plain, size: int = 0) -> tuple[UNet, tuple[int, int, int], int, int]:
    """The network of a config.json, the shape of its images, the rows of its label table and its output channels.

    Raises ValueError, by name, for a field that limpid has no equal for.
    """
    config = {name: value for name, value in config.items() if not name.startswith("_")}
    if unknown := sorted(name for name, value in config.items() if name not in DEFAULTS and value not in (None, False)):
        raise ValueError(f"its config has {unknown[0]} {config[unknown[0]]!r}, which limpid does not know")
    given = DEFAULTS | config
    for name, values in REQUIRED.items():
        if given[name] not in values:
            raise ValueError(f"{name} {given[name]!r}: limpid has {values[0]!r} alone")
    try:
        widths = from_dict(tuple[int, ...], given["block_out_channels"], "block_out_channels")
        blocks = from_dict(int, given["layers_per_block"], "layers_per_block")
        in_channels, out_channels = (from_dict(int, given[f"{side}_channels"], side) for side in ("in", "out"))
        edges = from_dict(tuple[int, ...], [size] if size else _sides(given["sample_size"]), "sample_size")
        attends, resample = _levels(given, len(widths))
        width = (given["time_embedding_dim"] or 4 * widths[0]) // 4
        multiples = tuple(each // width for each in widths)
    except (TypeError, ZeroDivisionError, IndexError) as error:
        raise ValueError(f"its config.json is not valid: {error}") from error
    if min(widths) < 1 or any(each % width for each in widths):
        raise ValueError(f"block_out_channels {list(widths)}: expected multiples of {width}")
    height, sides = edges[0], (edges[0], edges[-1])
    num_groups = given["norm_num_groups"]
    if given["attn_norm_num_groups"] not in ([num_groups] if scales(given) else [None, num_groups]):
        raise ValueError(
            f"attn_norm_num_groups {given['attn_norm_num_groups']!r}: limpid has {num_groups}, as elsewhere"
        )
    network = UNet(
        model_channels=width,
        channel_mult=multiples,
        num_blocks=blocks,
        attn_resolutions=tuple(min(sides) // 2**level for level, attention in enumerate(attends) if attention),
        dropout=from_dict(float, given["dropout"], "dropout"),
        scale_shift=scales(given),
        head_channels=from_dict(int, given["attention_head_dim"] or 0, "attention_head_dim"),
        resample=resample,
        arch=_arch(given, multiples[0], resample),
        norm_num_groups=from_dict(int, num_groups, "norm_num_groups"),
    )
    return with_plain_groups(network), (in_channels, height, edges[-1]), given["num_class_embeds"] or 0, out_channels


def scales(config: Plain) -> bool:
    """Whether the embedding scales and shifts. Raises ValueError for another way than limpid's two."""
    kind = config["resnet_time_scale_shift"]
    if kind not in ("default", "scale_shift"):
        raise ValueError(f"resnet_time_scale_shift {kind!r}: expected 'default' or 'scale_shift'")
    return kind == "scale_shift"


def _sides(sample_size: Any) -> list[Any]:
    if sample_size is None:
        raise ValueError("its config.json has no sample_size: name it with --size")
    return list(sample_size) if isinstance(sample_size, list | tuple) else [sample_size]


def _levels(config: Plain, levels: int) -> tuple[list[bool], Literal["conv", "biggan"]]:
    """Which levels have attention, and how the network resamples. Raises ValueError for what is not the same twice."""
    down, up = list(config["down_block_types"]), list(config["up_block_types"])
    if len(down) != levels or len(up) != levels:
        raise ValueError(f"{len(down)} and {len(up)} types of blocks: expected {levels}, one for each level")
    if other := [kind for kinds, known in ((down, DOWN), (up, UP)) for kind in kinds if kind not in known]:
        raise ValueError(f"block type {other[0]!r}: expected one of {', '.join([*DOWN, *UP])}")
    attends = [DOWN[kind][1] for kind in down]
    if attends != [UP[kind][1] for kind in reversed(up)]:
        raise ValueError("attention of the encoder and of the decoder on other levels: limpid has it on the same")
    of_attention = {"conv": "conv", "resnet": "biggan"}
    kinds = {DOWN[kind][0] or of_attention.get(config["downsample_type"]) for kind in down[:-1]}
    kinds |= {UP[kind][0] or of_attention.get(config["upsample_type"]) for kind in up[:-1]}
    if len(kinds) > 1 or None in kinds:
        raise ValueError("levels that resample in several ways: limpid resamples in one")
    return attends, "biggan" if kinds == {"biggan"} else "conv"


def _arch(config: Plain, multiple: int, resample: str) -> ArchName:
    """The paper whose details a config has. Raises ValueError for a mixture."""
    for name in ("ddpm", "iddpm"):
        details = ARCHS[name]
        padded = resample == "biggan" or config["downsample_padding"] == details.downsample_padding
        shift = multiple if details.endpoint else 0
        if padded and config["norm_eps"] == details.norm_eps and config["freq_shift"] == shift:
            return name
    fields = ", ".join(f"{name} {config[name]!r}" for name in ("norm_eps", "downsample_padding", "freq_shift"))
    raise ValueError(f"{fields}: limpid has 1e-06, 0, 1 (DDPM) and 1e-05, 1, 0 (improved DDPM)")
