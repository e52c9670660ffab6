"""Prints originals.json: the tensors of small networks by the code of other programs, and what those answer.

    python tests/interop/make_originals.py improved=REPOSITORY guided=... pytorch-ddpm=... score_sde=... edm=...

Each REPOSITORY is a checkout of openai/improved-diffusion, openai/guided-diffusion, w86763777/pytorch-ddpm,
yang-song/score_sde_pytorch or NVlabs/edm. Nothing of them is copied: shapes of tensors, settings, and numbers.
"""

import json
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from originals import fill, inputs
from torch import nn

Call = Callable[..., torch.Tensor]


def absent(*names: str) -> None:
    """Stand-ins for modules that the networks do not need."""
    for name in names:
        sys.modules[name] = ModuleType(name)


def openai(package: str, **fields: Any) -> tuple[nn.Module, Call]:
    absent("blobfile", "mpi4py")
    sys.modules["mpi4py"].MPI = None  # pyright: ignore[reportAttributeAccessIssue]
    net = import_module(f"{package}.unet").UNetModel(
        in_channels=3, model_channels=32, num_res_blocks=1, attention_resolutions=(2,), channel_mult=(1, 2), **fields
    )
    return net, net


def pytorch_ddpm() -> tuple[nn.Module, Call]:
    net = import_module("model").UNet(T=50, ch=32, ch_mult=[1, 2], attn=[1], num_res_blocks=1, dropout=0.1)
    return net, lambda x, t, labels: net(x, t)


def score_sde() -> tuple[nn.Module, Call]:
    package = ModuleType("models")
    package.__path__ = [f"{sys.path[0]}/models"]
    sys.modules["models"] = package
    absent("sde_lib", "models.up_or_down_sampling", "models.normalization_")
    for name in ("VPSDE", "VESDE", "subVPSDE"):
        setattr(sys.modules["sde_lib"], name, None)
    model = SimpleNamespace(nf=32, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(8,), dropout=0.1)
    model.__dict__.update(resamp_with_conv=True, conditional=True, scale_by_sigma=False, nonlinearity="swish")
    model.__dict__.update(normalization="GroupNorm", sigma_min=0.01, sigma_max=50, num_scales=50)
    data = SimpleNamespace(image_size=16, centered=True, num_channels=3)
    net = import_module("models.ddpm").DDPM(SimpleNamespace(model=model, data=data))
    return net, lambda x, t, labels: net(x, t)


def edm(precond: str, **fields: Any) -> tuple[nn.Module, Call]:
    """The denoiser at sigma = t / 10, or at step t of a table."""
    module = import_module("training.networks")
    net = getattr(module, precond)(img_resolution=16, img_channels=3, num_blocks=1, attn_resolutions=[8], **fields)
    classes = fields.get("label_dim", 0)

    def denoise(x: torch.Tensor, t: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        one_hot = nn.functional.one_hot(labels, classes).float() if classes else None
        return net(x, net.u[999 - t] if hasattr(net, "u") else t / 10, one_hot)

    return net, denoise


NETWORKS: dict[str, tuple[str, Callable[[], tuple[nn.Module, Call]]]] = {
    "improved": (
        "improved",
        lambda: openai("improved_diffusion", out_channels=6, num_heads=2, use_scale_shift_norm=True, num_classes=3),
    ),
    "guided": (
        "guided",
        lambda: openai(
            "guided_diffusion", image_size=16, out_channels=3, num_head_channels=16, resblock_updown=True, num_classes=3
        ),
    ),
    "guided, new order": (
        "guided",
        lambda: openai(
            "guided_diffusion",
            image_size=16,
            out_channels=3,
            num_head_channels=16,
            use_new_attention_order=True,
            num_classes=3,
        ),
    ),
    "pytorch-ddpm": ("pytorch-ddpm", pytorch_ddpm),
    "score_sde": ("score_sde", score_sde),
    "edm, ddpm++": (
        "edm",
        lambda: edm(
            "EDMPrecond", model_type="SongUNet", label_dim=3, augment_dim=9, model_channels=32, channel_mult=[2, 1]
        ),
    ),
    "edm, ncsn++": (
        "edm",
        lambda: edm(
            "EDMPrecond",
            model_type="SongUNet",
            embedding_type="fourier",
            encoder_type="residual",
            channel_mult_noise=2,
            resample_filter=[1, 3, 3, 1],
            model_channels=32,
            channel_mult=[1, 2],
        ),
    ),
    "edm, adm": (
        "edm",
        lambda: edm("EDMPrecond", label_dim=3, augment_dim=9, model_channels=64, channel_mult=[1, 2]),
    ),
    "edm, iddpm": ("edm", lambda: edm("iDDPMPrecond", model_channels=64, channel_mult=[1])),
}


def main() -> None:
    paths, found = dict(word.split("=") for word in sys.argv[1:]), {}
    for name, (repository, make) in NETWORKS.items():
        sys.path.insert(0, paths[repository])
        net, call = make()
        fixed = {n for n, tensor in net.state_dict().items() if n not in dict(net.named_parameters())}
        fixed -= {n for n in fixed if n.endswith("freqs")}
        fixed |= {n for n, weight in net.named_parameters() if not weight.requires_grad}
        shapes = {n: list(tensor.shape) for n, tensor in net.state_dict().items()}
        state = fill({n: shape for n, shape in shapes.items() if n not in fixed})
        net.eval().load_state_dict(state, strict=False)
        with torch.no_grad():
            y = call(*inputs())
        answers = [round(value, 5) for value in y[:, :, 5, 9].flatten().tolist()]
        settings = vars(net.get_submodule("model"))["_init_kwargs"] if repository == "edm" else {}
        entry = {"shapes": shapes, "fixed": sorted(fixed), "answers": answers}
        found[name] = ({"settings": settings} if settings else {}) | entry
    lines = [f"{json.dumps(name)}: {json.dumps(entry, separators=(',', ':'))}" for name, entry in found.items()]
    print("{\n" + ",\n".join(lines) + "\n}")


if __name__ == "__main__":
    main()
