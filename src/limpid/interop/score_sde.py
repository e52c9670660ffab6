"""The U-Net `ddpm` of github.com/yang-song/score_sde_pytorch (Song et al. 2021), variance-preserving, in T steps.

Its modules are one list, in the order in which they run; layers of 1x1 convolutions are transposed matrices there.
"""

import torch
from torch import Tensor

from limpid.diffusion.schedules import LinearBeta
from limpid.interop.foreign_model import ForeignModel, ForeignOptions, recipe_to_sample
from limpid.interop.pytorch_ddpm import joined_qkv
from limpid.interop.torch_file import state_dict_from
from limpid.interop.unet_parts import Part, UNetParts, block_prefixes, refuse_unused, renamed_part, unet_from_parts
from limpid.nets import UNet

_RESIDUAL = {
    "GroupNorm_0": "residual.norm1",
    "Conv_0": "residual.conv1",
    "Dense_0": "emb",
    "GroupNorm_1": "residual.norm2",
    "Conv_1": "residual.conv2",
    "NIN_0": "residual.shortcut",
}
_ATTENTION = {
    "GroupNorm_0": "attention.norm",
    "NIN_0": "attention.q",
    "NIN_1": "attention.k",
    "NIN_2": "attention.v",
    "NIN_3": "attention.out",
}


def is_score_sde(table: dict) -> bool:
    """Whether a file is a checkpoint of that program."""
    model = table.get("model")
    names = [name for name in model if isinstance(name, str)] if isinstance(model, dict) else []
    return any(name.removeprefix("module.").startswith("all_modules.") for name in names)


def score_sde_model(table: dict, options: ForeignOptions) -> ForeignModel:
    """The model in a file, of 32x32 images unless another size is given. Raises ValueError if it is no `ddpm`."""
    raw = state_dict_from(table["model"], "module.")
    T = len(raw.pop("sigmas", torch.empty(1000)))
    ema = with_shadow(raw, table.get("ema"))
    read = {name: read_state(dict(state), options) for name, state in (("ema", ema), ("raw", raw))}
    network, channels = read["ema"][:2]
    schedule = options.schedule if options.schedule != LinearBeta() else LinearBeta(T, 0.1 / T, 20 / T)
    recipe = recipe_to_sample(network, conditional=False, learned_variance=False, schedule=schedule)
    size = options.size or 32
    return ForeignModel(recipe, (channels, size, size), (), {name: state for name, (*_, state) in read.items()})


def with_shadow(raw: dict[str, Tensor], ema: object) -> dict[str, Tensor]:
    """The EMA, a list in the order of the parameters, by their names. Raises ValueError if it is no such list."""
    shadow = ema.get("shadow_params") if isinstance(ema, dict) else None
    if not isinstance(shadow, list) or [tuple(t.shape) for t in shadow] != [tuple(t.shape) for t in raw.values()]:
        raise ValueError("its EMA has other tensors than its model")
    return dict(zip(raw, (tensor.float() for tensor in shadow), strict=True))


def read_state(tensors: dict[str, Tensor], options: ForeignOptions) -> tuple[UNet, int, dict[str, Tensor]]:
    """The network, the channels of its images, and its state."""
    tensors = {_layer_name(name): _layer_weight(name, tensor) for name, tensor in tensors.items()}
    prefixes = block_prefixes(tensors, "all_modules")
    names = ["embedding.mlp.0", "embedding.mlp.2", "enter", "norm", "leave"]
    ends: Part = {}
    for prefix, name in zip(prefixes[:3] + prefixes[-2:], names, strict=True):
        ends |= renamed_part(tensors, prefix.removesuffix("."), {"": name})
    blocks: list[Part] = []
    for prefix in prefixes[3:-2]:
        attends = f"{prefix}NIN_3.weight" in tensors
        alone = f"{prefix}GroupNorm_0.weight" not in tensors
        part = renamed_part(tensors, prefix, _ATTENTION if attends else {"Conv_0": "conv"} if alone else _RESIDUAL)
        if attends and blocks:
            blocks[-1] |= joined_qkv(part)
        else:
            blocks.append(part)
    refuse_unused(tensors)
    resamplers = sum("conv.weight" in part for part in blocks)
    levels = resamplers // 2 + 1
    down = (len(blocks) - resamplers - 2 - levels) // 2 + levels - 1
    parts = UNetParts(ends, blocks[:down], blocks[down : down + 2], blocks[down + 2 :])
    like = UNet(dropout=0.1, arch="score_sde", norm_num_groups=32)
    network, state = unet_from_parts(parts, like, options.size or 32)
    return network, ends["enter.weight"].shape[1], state


def _layer_name(name: str) -> str:
    return name[:-1] + {"W": "weight", "b": "bias"}[name[-1]] if name.endswith((".W", ".b")) else name


def _layer_weight(name: str, tensor: Tensor) -> Tensor:
    return tensor.T[:, :, None, None].contiguous() if name.endswith(".W") and tensor.ndim == 2 else tensor
