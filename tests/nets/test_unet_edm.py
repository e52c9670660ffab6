"""DDPM++ and NCSN++ are those of EDM's code, and iDDPM begins with the weights of its own."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from limpid.nets import UNet
from limpid.nets.arch import ArchName

DDPMPP = UNet(32, (2, 2), num_blocks=2, attn_resolutions=(8,), dropout=0.0, resample="biggan", arch="ddpmpp")
# By arch and number of classes: what EDM's own code (Karras et al. 2022) answers in float64 with the weights of `fill`,
# at row 5 and column 9 of each channel; the second image has no label.
ANSWERS = {
    ("ddpmpp", 0): [-1.25812, -0.48965, -0.56454, -1.05403, 0.37512, 1.25546],
    ("ddpmpp", 4): [-1.04812, -0.95465, 0.62638, -1.4806, 0.29785, -0.18412],
    ("ncsnpp", 0): [-2.16798, -0.52922, -0.64304, -0.73461, 0.66547, 0.6273],
    ("ncsnpp", 4): [-0.99732, -0.6951, 0.86066, -0.10461, -0.11075, 1.02041],
}


def numbers(shape: Sequence[int], start: int) -> Tensor:
    """Numbers in [-0.5, 0.5) that look random and are the same everywhere: k = i^2 + 7 i start + start modulo 1009."""
    i = torch.arange(math.prod(shape), dtype=torch.int64)
    return (((i * i + 7 * i * start + start) % 1009).double() / 1009 - 0.5).float().reshape(tuple(shape))


def fill(net: nn.Module) -> None:
    """Give the network, in the order of their names, weights of which every one changes the answer."""
    with torch.no_grad():
        for start, (name, weight) in enumerate(sorted(net.named_parameters())):
            if weight.ndim == 1:
                weight.copy_(numbers(weight.shape, start) + (1 if "norm" in name and name.endswith("weight") else 0))
            else:
                weight.copy_(numbers(weight.shape, start) * 3 / weight[0].numel() ** 0.5)


@torch.no_grad()
@pytest.mark.parametrize(("arch", "classes"), ANSWERS)
def test_ddpmpp_and_ncsnpp_are_those_of_edms_code(arch: ArchName, classes: int):
    net = replace(DDPMPP, arch=arch).build((3, 16, 16), classes).eval()
    fill(net)
    if arch == "ncsnpp":
        net.get_buffer("embedding.fourier").copy_(4 * numbers((32,), 900))
    labels = torch.tensor([1, classes]) if classes else None
    y = net(4 * numbers((2, 3, 16, 16), 500), torch.tensor([-1.2, 0.9]), labels)
    torch.testing.assert_close(y[:, :, 5, 9].flatten(), torch.tensor(ANSWERS[arch, classes]), rtol=0, atol=2e-5)


def test_ddpmpp_begins_with_the_weights_of_edms_code():
    net = DDPMPP.build((3, 16, 16), 4)
    assert all((weight == 0).all() for name, weight in net.named_parameters() if name.endswith("bias"))
    largest = {name: weight.detach().abs().max().item() for name, weight in net.named_parameters()}
    joint_bound = (6 / (64 + 3 * 64)) ** 0.5  # of queries, keys and values initialized as one matrix
    for name, bound in {
        "middle.0.attention.qkv": 0.2**0.5 * joint_bound,
        "middle.0.attention.out": 1e-5 * (6 / (64 + 64)) ** 0.5,
        "middle.0.residual.conv1": (6 / (9 * 64 + 9 * 64)) ** 0.5,
        "middle.0.residual.conv2": 1e-5 * (6 / (9 * 64 + 9 * 64)) ** 0.5,
        "leave": 1e-5 * (6 / (9 * 64 + 9 * 3)) ** 0.5,
        "embedding.labels": (6 / (4 + 32)) ** 0.5,
    }.items():
        assert 0.95 * bound < largest[f"{name}.weight"] <= bound * (1 + 1e-6), name


def test_iddpm_begins_with_the_weights_of_torch_and_zeros_where_branches_end():
    net = UNet(32, (1, 1), 1, (8,), scale_shift=True, arch="iddpm").build((3, 16, 16), 0)
    ends = ("conv2", "out", "leave")
    for name, part in net.named_modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            assert part.bias is not None
            bound = 0.0 if name.split(".")[-1] in ends else part.weight[0].numel() ** -0.5
            for weight in (part.weight, part.bias):
                assert 0.8 * bound <= weight.detach().abs().max().item() <= bound * (1 + 1e-6), name
