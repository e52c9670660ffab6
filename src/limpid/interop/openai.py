"""U-Nets of OpenAI's improved-diffusion (Nichol and Dhariwal 2021) and guided-diffusion (Dhariwal and Nichol 2021).

Their files hold tensors alone: neither the size of the images nor the number of heads can be read from them.
"""

from dataclasses import replace

import torch
from torch import Tensor

from limpid.diffusion.denoiser import Timestep
from limpid.interop.foreign_model import ForeignModel, ForeignOptions, recipe_to_sample
from limpid.interop.torch_file import state_dict_from
from limpid.interop.unet_parts import Part, UNetParts, block_prefixes, refuse_unused, renamed_part, unet_from_parts
from limpid.nets import UNet

_ENDS = {
    "time_embed.0": "embedding.mlp.0",
    "time_embed.2": "embedding.mlp.2",
    "label_emb": "embedding.labels",
    "input_blocks.0.0": "enter",
    "out.0": "norm",
    "out.2": "leave",
}
_RESIDUAL = {
    "in_layers.0": "residual.norm1",
    "in_layers.2": "residual.conv1",
    "emb_layers.1": "emb",
    "out_layers.0": "residual.norm2",
    "out_layers.3": "residual.conv2",
    "skip_connection": "residual.shortcut",
}
_ATTENTION = {"norm": "attention.norm", "qkv": "attention.qkv", "proj_out": "attention.out"}
_RESAMPLE = {"op": "conv", "conv": "conv"}


def is_openai(table: dict) -> bool:
    """Whether a file holds such a network."""
    return "time_embed.0.weight" in table and "input_blocks.0.0.weight" in table


def openai_model(table: dict, options: ForeignOptions) -> ForeignModel:
    """The model in a file. Raises ValueError if it is none, or where `options` lack what it does not say."""
    if not options.size or not (options.num_heads or options.head_channels):
        advice = "--size 32 and --num-heads 4 (improved-diffusion) or --head-channels 64 (guided-diffusion)"
        raise ValueError(
            f"the size of its images and its attention heads are not in the file: limpid import, with {advice}"
        )
    tensors = state_dict_from(table)
    parts = read_parts(tensors)
    channels = parts.ends["enter.weight"].shape[1]
    head_channels = options.head_channels or head_width(parts, options.num_heads)
    for part in (*parts.down, *parts.middle, *parts.up):
        order_attention(part, head_channels, options.new_attention_order)
    frequencies = parts.ends["embedding.mlp.0.weight"]  # of cosines, then sines
    parts.ends["embedding.mlp.0.weight"] = frequencies.roll(frequencies.shape[1] // 2, dims=1)
    like = UNet(dropout=0.0, head_channels=head_channels, arch="iddpm", norm_num_groups=32)
    network, state = unet_from_parts(parts, like, options.size)
    classes, state = with_null_label(state)
    learned = len(state["leave.bias"]) == 2 * channels
    recipe = recipe_to_sample(network, conditional=bool(classes), learned_variance=learned, schedule=options.schedule)
    given = Timestep(
        recipe.sampling.steps, rescale_timesteps=options.rescale_timesteps and recipe.sampling.steps != 1000
    )
    shape = (channels, options.size, options.size)
    return ForeignModel(
        replace(recipe, noise_conditioning=given), shape, names_of_classes(classes, options), {"ema": state}
    )


def read_parts(tensors: dict[str, Tensor]) -> UNetParts:
    """The tensors, sorted into parts; every one is used. Raises ValueError if one has no place."""
    ends = renamed_part(tensors, "", _ENDS)

    def parts_of(sequence: str) -> list[Part]:
        found: list[Part] = []
        for prefix in block_prefixes(tensors, sequence):
            for i in range(3):
                layers = renamed_part(tensors, f"{prefix}{i}.", _RESIDUAL | _ATTENTION | _RESAMPLE)
                if i and sequence == "output_blocks" and "residual.conv1.weight" in layers:
                    layers = {name.removeprefix("residual."): tensor for name, tensor in layers.items()}
                if "attention.qkv.weight" in layers and found:
                    found[-1] |= {n: t[..., None] if t.ndim == 3 else t for n, t in layers.items()}
                elif layers:
                    found.append(layers)
        return found

    down, up = parts_of("input_blocks"), parts_of("output_blocks")
    first, attention, second = (renamed_part(tensors, f"middle_block.{i}.", _RESIDUAL | _ATTENTION) for i in range(3))
    refuse_unused(tensors)
    middle = first | {name: tensor[..., None] if tensor.ndim == 3 else tensor for name, tensor in attention.items()}
    return UNetParts(ends, down, [middle, second], up)


def head_width(parts: UNetParts, num_heads: int) -> int:
    """The channels of each head. Raises ValueError where maps of different width are attended to."""
    widths = {len(part["attention.out.bias"]) for part in (*parts.down, *parts.middle) if "attention.out.bias" in part}
    if len(widths) > 1 or (width := widths.pop()) % num_heads:
        raise ValueError(f"{num_heads} heads of maps of different widths: limpid has one number of channels per head")
    return width // num_heads


def order_attention(part: Part, head_channels: int, new_order: bool) -> None:
    """Order the rows of queries, keys and values as limpid does: all queries first, not those of one head."""
    for kind in ("weight", "bias"):
        if not new_order and (tensor := part.get(f"attention.qkv.{kind}")) is not None:
            if len(tensor) % (3 * head_channels):
                raise ValueError(f"{head_channels} channels per head: expected a divisor of {len(tensor) // 3}")
            heads = tensor.unflatten(0, (-1, 3, head_channels))
            part[f"attention.qkv.{kind}"] = heads.transpose(0, 1).flatten(0, 2)


def with_null_label(state: dict[str, Tensor]) -> tuple[int, dict[str, Tensor]]:
    """The number of classes, and the state with a row of zeros for no label, which these models do not have."""
    table = state.get("embedding.labels.weight")
    if table is None:
        return 0, state
    return len(table), state | {"embedding.labels.weight": torch.cat([table, torch.zeros_like(table[:1])])}


def names_of_classes(classes: int, options: ForeignOptions) -> tuple[str, ...]:
    """The names of the classes: those given, or their numbers. Raises ValueError for another number of names."""
    if options.classes and len(options.classes) != classes:
        raise ValueError(f"{len(options.classes)} names of classes for a model with {classes}")
    return options.classes or tuple(map(str, range(classes)))
