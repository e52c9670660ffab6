"""Pickles of EDM (Karras et al. 2022), github.com/NVlabs/edm: DDPM++, NCSN++ and ADM with EDM's preconditioning.

ADM is also read with that of improved DDPM. The networks were trained on augmented images, and their embedding adds a
linear map, without bias, of the augmentation. To sample, the augmentation is zero: the map is left out.
"""

import reprlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from limpid.diffusion.denoiser import LogSigma
from limpid.diffusion.samplers import Heun
from limpid.diffusion.schedules import Cosine, Karras, LogNormal
from limpid.diffusion.targets import Edm
from limpid.interop.foreign_model import ForeignModel, ForeignOptions, fine_tuning_recipe, recipe_to_sample
from limpid.interop.openai import names_of_classes, with_null_label
from limpid.interop.persistent_pickle import class_and_state, module_tensors
from limpid.interop.torch_file import state_dict_from
from limpid.interop.unet_parts import Part, refuse_unused, renamed_part
from limpid.nets import UNet
from limpid.nets.arch import ArchName
from limpid.recipes.recipe import Recipe, Sampling

MAX_SIZE = 4096
MAX_LEVELS = 12
_UNREAD = {
    "VPPrecond": "its network is given the continuous time of the VP SDE, which limpid's are not",
    "VEPrecond": "its network is given noisy images that are not scaled to unit variance, which limpid's always are",
    "Precond": "EDM2's network preserves magnitudes, which none of limpid's does",
}
"""Why a preconditioning of EDM or EDM2 is not read, by the name of its class."""
_CHOICES: dict[ArchName, dict[str, object]] = {
    "ddpmpp": {
        "embedding_type": "positional",
        "channel_mult_noise": 1,
        "encoder_type": "standard",
        "decoder_type": "standard",
        "resample_filter": [1, 1],
        "channel_mult_emb": 4,
    },
    "ncsnpp": {
        "embedding_type": "fourier",
        "channel_mult_noise": 2,
        "encoder_type": "residual",
        "decoder_type": "standard",
        "resample_filter": [1, 3, 3, 1],
        "channel_mult_emb": 4,
    },
}
"""The settings of EDM's SongUNet that make it DDPM++, which are its defaults, and NCSN++."""
_SONG = {"model_channels": 128, "channel_mult": [1, 2, 2, 2], "num_blocks": 4, "attn_resolutions": [16], "dropout": 0.1}
_ADM = _SONG | {"model_channels": 192, "channel_mult": [1, 2, 3, 4], "num_blocks": 3, "attn_resolutions": [32, 16, 8]}
_ENDS = {
    "map_layer0": "embedding.mlp.0",
    "map_layer1": "embedding.mlp.2",
    "map_label": "embedding.labels",
    "out_norm": "norm",
    "out_conv": "leave",
}
_CONVOLUTIONS = {"conv": "enter", "aux_norm": "norm", "aux_conv": "leave"}
_SEQUENCES = {"in0": "middle", "in1": "middle", "aux_residual": "pyramid"}
_RESAMPLING = {
    "norm0": "norm1",
    "conv0": "conv1",
    "affine": "emb",
    "norm1": "norm2",
    "conv1": "conv2",
    "skip": "shortcut",
}
_BLOCK = {name: ours if ours == "emb" else f"residual.{ours}" for name, ours in _RESAMPLING.items()}
_BLOCK |= {"norm2": "attention.norm", "qkv": "attention.qkv", "proj": "attention.out"}


def edm_model(table: Mapping[str, Any], options: ForeignOptions) -> ForeignModel:
    """The model in a pickle's table. Raises ValueError if it is none of EDM's, or has choices that limpid lacks."""
    if "ema" not in table:
        raise ValueError("it has no 'ema': expected a network-snapshot of EDM")
    name, precond = class_and_state(table["ema"])
    if name not in ("EDMPrecond", "iDDPMPrecond"):
        reason = _UNREAD.get(name, "its class is unknown")
        works = "expected a snapshot of EDM with an EDMPrecond or iDDPMPrecond, such as edm-*.pkl"
        raise ValueError(f"it holds a {name!r}: {reason}; {works}")
    model = precond["_modules"]["model"]
    kind, state = class_and_state(model)
    settings = state["_init_kwargs"]
    size, channels, classes = (int(settings[word]) for word in ("img_resolution", "in_channels", "label_dim"))
    if not 1 <= size <= MAX_SIZE or options.size not in (0, size):
        raise ValueError(f"its images are of {size:.6g} pixels: expected {options.size or f'1 to {MAX_SIZE}'}")
    found = module_tensors(model)
    rows = found["map_label.weight"].shape[1] if "map_label.weight" in found else 0
    if classes != rows:
        raise ValueError(f"{classes:.6g} classes, and a table of {rows}")
    network = edm_unet(kind, settings, size)
    recipe = edm_recipe(name, precond, network, bool(classes), size)
    tensors = edm_state(state_dict_from(found), network)
    return ForeignModel(recipe, (channels, size, size), names_of_classes(classes, options), {"ema": tensors})


def edm_recipe(name: str, precond: Mapping[str, Any], network: UNet, conditional: bool, size: int) -> Recipe:
    """The recipe with the target, conditioning and sampling of EDMPrecond or iDDPMPrecond."""
    if name == "iDDPMPrecond":
        schedule = Cosine(int(precond["M"]), offset=float(precond["C_2"]), beta_max=1 - float(precond["C_1"]))
        return recipe_to_sample(network, conditional=conditional, learned_variance=True, schedule=schedule)
    sigma_data = float(precond["sigma_data"])
    return fine_tuning_recipe(
        network,
        conditional=conditional,
        learned_variance=False,
        schedule=LogNormal(),
        target=Edm(sigma_data),
        noise_conditioning=LogSigma(sigma_data),
        # Steps of table 1 of the paper.
        sampling=Sampling(18 if size < 64 else 40, Heun(), schedule=Karras(), clip_denoised=False),
    )


def edm_unet(kind: str, settings: Mapping[str, Any], size: int) -> UNet:
    """The network of a class of EDM's code. Raises ValueError for a class or a choice that limpid does not have."""
    if kind not in ("SongUNet", "DhariwalUNet"):
        raise ValueError(f"a network {kind!r}: expected SongUNet or DhariwalUNet")
    given = {word: settings.get(word, default) for word, default in (_SONG if kind == "SongUNet" else _ADM).items()}
    multiples = tuple(map(int, given["channel_mult"][: MAX_LEVELS + 1]))
    if len(multiples) > MAX_LEVELS:
        raise ValueError(f"a network of more than {MAX_LEVELS} levels")
    sizes = {size >> level for level in range(len(multiples))}
    attends = tuple(int(edge) for edge in given["attn_resolutions"] if edge in sizes)
    numbers = (int(given["model_channels"]), multiples, int(given["num_blocks"]), attends, float(given["dropout"]))
    if kind == "DhariwalUNet":
        if settings.get("channel_mult_emb", 4) != 4:
            raise ValueError("a DhariwalUNet with another channel_mult_emb than 4")
        return UNet(*numbers, scale_shift=True, head_channels=64, resample="biggan", arch="iddpm")
    choices = {word: settings.get(word, default) for word, default in _CHOICES["ddpmpp"].items()}
    for arch, expected in _CHOICES.items():
        if choices == expected:
            return UNet(*numbers, resample="biggan", arch=arch)
    words = ", ".join(f"{word} {reprlib.repr(value)[:20]}" for word, value in choices.items())
    raise ValueError(f"a SongUNet with {words}: expected the choices of DDPM++ or NCSN++")


def edm_state(tensors: dict[str, Tensor], network: UNet) -> dict[str, Tensor]:
    """The tensors by their names in limpid. Raises ValueError if one has no place."""
    tensors = {n: t for n, t in tensors.items() if not n.endswith("resample_filter") and n != "map_augment.weight"}
    order = list(dict.fromkeys(tuple(name.split(".")[:2]) for name in tensors if name[:4] in ("enc.", "dec.")))
    state = renamed_part(tensors, "", _ENDS)
    if "map_noise.freqs" in tensors:
        state["embedding.fourier"] = tensors.pop("map_noise.freqs")
    modulations, found = list[Part](), Counter[str]()
    for side, block in order:  # a block is the size of its maps and what it is: "32x32_block0", "16x16_down"
        kind = block.split("_", 1)[1]
        if kind in _CONVOLUTIONS:
            state |= renamed_part(tensors, f"{side}.", {block: _CONVOLUTIONS[kind]})
            continue
        sequence = _SEQUENCES.get(kind) or {"enc": "down", "dec": "up"}[side]
        place, found[sequence] = f"{sequence}.{found[sequence]}", found[sequence] + 1
        if sequence == "pyramid":
            state |= renamed_part(tensors, f"{side}.", {block: place})
        else:
            layers = _RESAMPLING if kind in ("down", "up") else _BLOCK
            part = renamed_part(tensors, f"{side}.{block}.", layers)
            modulations.append({kind: part.pop(f"emb.{kind}") for kind in ("weight", "bias")})
            state |= {f"{place}.{name}": tensor for name, tensor in part.items()}
    refuse_unused(tensors)
    for kind in ("weight", "bias"):
        state[f"embedding.to_modulation.{kind}"] = torch.cat([part[kind] for part in modulations])
    return _reordered(state, network)


def _reordered(state: dict[str, Tensor], network: UNet) -> dict[str, Tensor]:
    """The state with queries, keys and values after each other, and the embedding of ADM in the order of limpid."""
    for name, tensor in state.items():
        if ".qkv." in name:
            heads = len(tensor) // (3 * network.head_channels) if network.head_channels else 1
            state[name] = tensor.unflatten(0, (heads, -1, 3)).movedim(2, 0).flatten(0, 2)
    if network.arch != "iddpm":
        return state
    frequencies = state["embedding.mlp.0.weight"]  # of cosines, then sines
    state["embedding.mlp.0.weight"] = frequencies.roll(frequencies.shape[1] // 2, dims=1)
    if "embedding.labels.weight" in state:
        state["embedding.labels.weight"] = state["embedding.labels.weight"].T
    return with_null_label(state)[1]
