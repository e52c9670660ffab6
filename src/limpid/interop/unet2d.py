"""A `UNet` as the config.json of diffusers' `UNet2DModel`, and back."""

import torch

from limpid.nets import Network, UNet
from limpid.nets.norm import GroupNorm
from limpid.storage.checkpoint import Plain

DOWN = {"DownBlock2D": ("conv", False), "AttnDownBlock2D": (None, True), "ResnetDownsampleBlock2D": ("biggan", False)}
"""Blocks of the encoder: how each resamples, None for as the config says, and whether it has attention."""
UP = {name.replace("Down", "Up", 1): kind for name, kind in DOWN.items()}


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
    if details.skip_scale != 1 or details.attention_up != "all" or details.enter != "level" or details.one_hot:
        reasons.append(f"arch {network.arch}: UNet2DModel scales no skips")
    return reasons


def norm_groups(network: UNet, shape: tuple[int, int, int]) -> set[int]:
    """The numbers of groups that the norms of a network have."""
    with torch.device("meta"):
        return {part.groups for part in network.build(shape, 0).modules() if isinstance(part, GroupNorm)}
