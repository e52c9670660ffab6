"""U-Nets of github.com/w86763777/pytorch-ddpm: `ckpt.pt` with the EMA and the raw weights."""

import torch
from torch import Tensor

from limpid.diffusion.schedules import LinearBeta
from limpid.interop.foreign_model import ForeignModel, ForeignOptions, recipe_to_sample
from limpid.interop.torch_file import state_dict_from
from limpid.interop.unet_parts import Part, UNetParts, block_prefixes, refuse_unused, renamed_part, unet_from_parts
from limpid.nets import UNet

_TIMESTEPS = "time_embedding.timembedding.0.weight"
"""Its table of the sinusoid of every step, which is no weight."""
_ENDS = {
    "time_embedding.timembedding.1": "embedding.mlp.0",
    "time_embedding.timembedding.3": "embedding.mlp.2",
    "head": "enter",
    "tail.0": "norm",
    "tail.2": "leave",
}
_BLOCK = {
    "block1.0": "residual.norm1",
    "block1.2": "residual.conv1",
    "temb_proj.1": "emb",
    "block2.0": "residual.norm2",
    "block2.3": "residual.conv2",
    "shortcut": "residual.shortcut",
    "attn.group_norm": "attention.norm",
    "attn.proj_q": "attention.q",
    "attn.proj_k": "attention.k",
    "attn.proj_v": "attention.v",
    "attn.proj": "attention.out",
    "main": "conv",
}


def is_pytorch_ddpm(table: dict) -> bool:
    """Whether a file is a checkpoint of that program, or a network of it alone."""
    return _TIMESTEPS in table or any(
        isinstance(table.get(n), dict) and _TIMESTEPS in table[n] for n in ("ema_model", "net_model")
    )


def pytorch_ddpm_model(table: dict, options: ForeignOptions) -> ForeignModel:
    """The model in a file, of 32x32 images unless another size is given. Raises ValueError if it is none."""
    states = {"ema": table.get("ema_model", table), "raw": table.get("net_model")}
    read = {name: read_network(state_dict_from(state), options) for name, state in states.items() if state is not None}
    network, channels, T, _ = read["ema"]
    schedule = options.schedule if options.schedule != LinearBeta() else LinearBeta(T=T)
    recipe = recipe_to_sample(network, conditional=False, learned_variance=False, schedule=schedule)
    size = options.size or 32
    return ForeignModel(recipe, (channels, size, size), (), {name: state for name, (*_, state) in read.items()})


def read_network(tensors: dict[str, Tensor], options: ForeignOptions) -> tuple[UNet, int, int, dict[str, Tensor]]:
    """The network, the channels of its images, its number of timesteps, and its state."""
    T = len(tensors.pop(_TIMESTEPS))
    ends = renamed_part(tensors, "", _ENDS)
    frequencies = ends["embedding.mlp.0.weight"]  # of sines and cosines in turn
    ends["embedding.mlp.0.weight"] = torch.cat([frequencies[:, 0::2], frequencies[:, 1::2]], dim=1)
    down, middle, up = (
        [joined_qkv(renamed_part(tensors, prefix, _BLOCK)) for prefix in block_prefixes(tensors, sequence)]
        for sequence in ("downblocks", "middleblocks", "upblocks")
    )
    refuse_unused(tensors)
    like = UNet(dropout=0.1, arch="iddpm", norm_num_groups=32)
    network, state = unet_from_parts(UNetParts(ends, down, middle, up), like, options.size or 32)
    return network, ends["enter.weight"].shape[1], T, state


def joined_qkv(part: Part) -> Part:
    """The part with its queries, keys and values, which are three layers, as one."""
    if "attention.q.weight" not in part:
        return part
    joint = {
        f"attention.qkv.{kind}": torch.cat([part.pop(f"attention.{name}.{kind}") for name in "qkv"])
        for kind in ("weight", "bias")
    }
    return part | joint
