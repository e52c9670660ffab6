"""The U-Net is the published one: the same numbers as an independent implementation with the same weights."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from limpid.nets import UNet

# google/ddpm-cifar10-32, field by field.
DDPM = {
    "sample_size": 32,
    "layers_per_block": 2,
    "block_out_channels": (128, 256, 256, 256),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
    "norm_num_groups": 32,
    "mid_block_scale_factor": 1,
}
# ADM's choices on a small network, class-conditional, attending in heads of 32 channels on its two smaller maps.
ADM = {
    "sample_size": 16,
    "layers_per_block": 1,
    "block_out_channels": (128, 256, 128),
    "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "attention_head_dim": 32,
    "attn_norm_num_groups": 32,
    "resnet_time_scale_shift": "scale_shift",
    "downsample_type": "resnet",
    "upsample_type": "resnet",
    "num_class_embeds": 11,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
}
CASES = {
    "ddpm": (UNet(dropout=0.0), 0, DDPM),
    "adm": (
        UNet(128, (1, 2, 1), 1, (8, 4), dropout=0.0, scale_shift=True, head_width=32, resample="biggan"),
        10,
        ADM,
    ),
}

RESIDUAL = {
    "norm1": ["norm1"],
    "conv1": ["conv1"],
    "condition": ["time_emb_proj"],
    "norm2": ["norm2"],
    "conv2": ["conv2"],
    "shortcut": ["conv_shortcut"],
}
ATTENTION = {"norm": ["group_norm"], "qkv": ["to_q", "to_k", "to_v"], "out": ["to_out.0"]}
ENDS = {
    "embedding.mlp.0": ["time_embedding.linear_1"],
    "embedding.mlp.2": ["time_embedding.linear_2"],
    "embedding.labels": ["class_embedding"],
    "enter": ["conv_in"],
    "norm": ["conv_norm_out"],
    "leave": ["conv_out"],
}


def places(config: UNet) -> Iterator[tuple[str, str, dict[str, list[str]]]]:
    """(prefix here, prefix there, layers) for every part that a U-Net can have."""
    yield "", "", ENDS
    yield "middle.0.residual.", "mid_block.resnets.0.", RESIDUAL
    yield "middle.0.attention.", "mid_block.attentions.0.", ATTENTION
    yield "middle.1.residual.", "mid_block.resnets.1.", RESIDUAL
    for side, blocks in (("down", config.blocks), ("up", config.blocks + 1)):
        for level in range(len(config.multipliers)):
            for block in range(blocks):
                here, there = f"{side}.{level * (blocks + 1) + block}.", f"{side}_blocks.{level}."
                yield f"{here}residual.", f"{there}resnets.{block}.", RESIDUAL
                yield f"{here}attention.", f"{there}attentions.{block}.", ATTENTION
            here, there = f"{side}.{level * (blocks + 1) + blocks}.", f"{side}_blocks.{level}.{side}samplers.0."
            yield here, there, {"conv": ["conv"]} if config.resample == "conv" else RESIDUAL


def copied(config: UNet, theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their weights under our names; every one of them is used once."""
    left, ours = dict(theirs), {}
    for here, there, layers in places(config):
        for layer, names in layers.items():
            for kind in ("weight", "bias"):
                parts = [left.pop(key) for name in names if (key := f"{there}{name}.{kind}") in left]
                if parts:
                    ours[f"{here}{layer}.{kind}"] = torch.cat(parts)
    assert not left, f"weights without a place: {list(left)}"
    # An attention layer there is a linear one: here a convolution of 1x1.
    return {n: w[:, :, None, None] if "attention" in n and w.ndim == 2 else w for n, w in ours.items()}


@dataclass
class Pair:
    """Our network and theirs, with the same random weights, and pictures to show them."""

    config: UNet
    ours: nn.Module
    theirs: UNet2DModel
    x: Tensor
    labels: Tensor | None

    def outputs(self, timesteps: list[int]) -> tuple[Tensor, Tensor]:
        t = torch.tensor(timesteps)
        return self.ours(self.x, t.float(), self.labels), self.theirs(self.x, t, self.labels).sample


@pytest.fixture(scope="module", params=CASES)
def pair(request: pytest.FixtureRequest) -> Pair:
    config, classes, fields = CASES[request.param]
    torch.manual_seed(0)
    theirs, size = UNet2DModel(**fields), fields["sample_size"]
    ours = config.build((3, size, size), classes)
    ours.load_state_dict(copied(config, theirs.state_dict()))
    labels = torch.tensor([3, 10]) if classes else None
    return Pair(config, ours, theirs, torch.randn(2, 3, size, size), labels)


@pytest.mark.parametrize("timesteps", [[0, 1], [17, 500], [998, 999]])
@torch.no_grad()
def test_outputs_are_those_of_another_implementation(pair: Pair, timesteps: list[int]):
    ours, theirs = pair.outputs(timesteps)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_another_implementation(pair: Pair):
    for y in pair.outputs([3, 700]):
        y.square().mean().backward()
    theirs = copied(pair.config, {name: weight.grad for name, weight in pair.theirs.named_parameters()})
    for name, weight in pair.ours.named_parameters():
        largest = float(theirs[name].abs().max())
        torch.testing.assert_close(weight.grad, theirs[name], rtol=1e-3, atol=1e-3 * largest + 1e-6, msg=name)


def test_the_default_is_the_papers_of_35_7_million_parameters():
    net = UNet().build((3, 32, 32), 0)
    assert sum(weight.numel() for weight in net.parameters()) == 35_746_307


@torch.no_grad()
def test_it_begins_by_answering_zero_with_every_block_passing_its_map_on():
    net = UNet(8, (1, 1), 1, (4,), patch=2).build((3, 16, 16), 0).eval()
    assert (net(torch.randn(2, 3, 16, 16), torch.rand(2), None) == 0).all()
    block, x = net.get_submodule("middle.0"), torch.randn(2, 8, 4, 4)
    torch.testing.assert_close(block(x, torch.randn(2, 32)), x)
