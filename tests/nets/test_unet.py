"""The U-Net is the published one: the same numbers as an independent implementation with the same weights."""

from dataclasses import dataclass

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor, nn

from limpid.interop.unet2d_names import unet_tensors
from limpid.nets import UNet
from limpid.recipes.recipe import build_denoiser
from limpid.recipes.registry import RECIPES

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
# Improved DDPM's choices on a small network: cosines come first in its sinusoid, and 1 / 10000 is left out.
IDDPM = {
    "sample_size": 16,
    "layers_per_block": 1,
    "block_out_channels": (128, 256, 128),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": 32,
    "attn_norm_num_groups": 32,
    "resnet_time_scale_shift": "scale_shift",
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "norm_eps": 1e-5,
}
CASES = {
    "ddpm": (UNet(dropout=0.0), 0, DDPM),
    "adm": (
        UNet(128, (1, 2, 1), 1, (8, 4), dropout=0.0, scale_shift=True, head_channels=32, resample="biggan"),
        10,
        ADM,
    ),
    "iddpm": (
        UNet(128, (1, 2, 1), 1, (8, 4), dropout=0.0, scale_shift=True, head_channels=32, arch="iddpm"),
        0,
        IDDPM,
    ),
}


def copied(config: UNet, reference: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors under our names; every one of them is used once."""
    return unet_tensors(config, reference, cosines_first=config.arch == "iddpm")


@dataclass
class Pair:
    """The network and that of diffusers, with the same random weights, and inputs for both."""

    config: UNet
    tested: nn.Module
    reference: UNet2DModel
    x: Tensor
    labels: Tensor | None

    def outputs(self, timesteps: list[int]) -> tuple[Tensor, Tensor]:
        t = torch.tensor(timesteps)
        return self.tested(self.x, t.float(), self.labels), self.reference(self.x, t, self.labels).sample


@pytest.fixture(scope="module", params=CASES)
def pair(request: pytest.FixtureRequest) -> Pair:
    config, classes, fields = CASES[request.param]
    torch.manual_seed(0)
    reference, size = UNet2DModel(**fields), fields["sample_size"]
    tested = config.build((3, size, size), classes)
    tested.load_state_dict(copied(config, reference.state_dict()))
    labels = torch.tensor([3, 10]) if classes else None
    return Pair(config, tested, reference, torch.randn(2, 3, size, size), labels)


@pytest.mark.parametrize("timesteps", [[0, 1], [17, 500], [998, 999]])
@torch.no_grad()
def test_outputs_are_those_of_another_implementation(pair: Pair, timesteps: list[int]):
    tested, reference = pair.outputs(timesteps)
    assert reference.std() > 0.1
    torch.testing.assert_close(tested, reference, rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_another_implementation(pair: Pair):
    def gradients(net: nn.Module, y: Tensor) -> dict[str, Tensor]:
        names, weights = zip(*net.named_parameters(), strict=True)
        return dict(zip(names, torch.autograd.grad(y.square().mean(), weights), strict=True))

    tested, reference = pair.outputs([3, 700])
    expected = copied(pair.config, gradients(pair.reference, reference))
    for name, gradient in gradients(pair.tested, tested).items():
        largest = float(expected[name].abs().max())
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-3 * largest + 1e-6)


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("cifar10", 0, 35_746_307),
        ("cifar10-iddpm", 0, 52_546_438),
        ("cifar10-edm", 0, 55_732_739),
        ("cifar10-edm-cond", 10, 55_734_147),
    ],
)
def test_a_papers_network_has_as_many_parameters_as_in_its_code(name: str, classes: int, parameters: int):
    recipe = RECIPES[name]()
    with torch.device("meta"):
        model = build_denoiser(recipe, (3, 32, 32), classes)
    assert sum(weight.numel() for weight in model.parameters()) == parameters


@torch.no_grad()
def test_its_first_output_is_zero_and_every_block_begins_as_the_identity():
    net = UNet(8, (1, 1), 1, (4,), patch_size=2).build((3, 16, 16), 0).eval()
    assert (net(torch.randn(2, 3, 16, 16), torch.rand(2), None) == 0).all()
    block, x = net.get_submodule("middle.0"), torch.randn(2, 8, 4, 4)
    torch.testing.assert_close(block(x, torch.randn(2, 8)), x)


def test_matrices_stored_as_one_are_initialized_separately():
    net = UNet(32, (1, 1), 1, (), dropout=0.0).build((3, 8, 8), 0)
    for name, fan_in in (("middle.0.attention.qkv", 32), ("embedding.to_modulation", 128)):
        largest = net.get_parameter(f"{name}.weight").detach().abs().max().item()
        assert 0.99 < largest / (6 / (fan_in + 32)) ** 0.5 <= 1 + 1e-6


def test_a_size_that_the_message_names_works_and_so_does_the_choice_of_attention_that_it_names():
    """50 pixels: 48 is the nearest multiple of 8, but none of its feature maps has resolution 16."""
    with pytest.raises(
        ValueError, match="the nearest size is 48x48, but no feature map of it has resolution 16"
    ) as refused:
        UNet(8).build((3, 50, 50), 0)
    advice = "choose --network.attn-resolutions from 48, 24, 12, 6, or images whose shorter side is 16, 32, 64, 128"
    assert str(refused.value).endswith(advice)
    UNet(8, attn_resolutions=(24, 6)).build((3, 48, 48), 0)
    UNet(8).build((3, 64, 64), 0)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (UNet(num_blocks=(2, 2)), r"blocks \(2, 2\): expected at most 100, for 4 levels"),
        (UNet(num_blocks=10**9), "blocks 1000000000: expected at most 100"),
        (UNet(num_blocks=(2, 0, 2, 2)), "expected integers from 1 up"),
        (
            UNet(attn_resolutions=(16, 5)),
            "no feature map has resolution 5, .*: choose --network.attn-resolutions from 32, 16, 8, 4$",
        ),
        (
            UNet(patch_size=2, attn_resolutions=(32,)),
            "from 16, 8, 4, 2, or images whose shorter side is 64, 128, 256, 512$",
        ),
        (UNet(head_channels=48), "head_channels 48: expected a divisor of model_channels, 128"),
        (UNet(model_channels=7), "model_channels 7: expected an even number"),
        (UNet(channel_mult=()), "at least one multiplier"),
        (UNet(patch_size=0), "expected integers from 1 up"),
        (UNet(arch="adm"), "no arch 'adm': choose from ddpm, iddpm, ddpmpp, ncsnpp"),  # pyright: ignore[reportArgumentType]
        (UNet(norm_num_groups=48), "norm_num_groups 48: expected a divisor of 128, the channels of a norm"),
        (UNet(fourier_std=-1.0), "fourier_std -1.0: expected a positive number"),
        (UNet(dropout=1.0), "dropout 1.0: expected a probability"),
    ],
)
def test_a_field_that_does_not_fit_is_refused_with_what_was_expected(network: UNet, message: str):
    with pytest.raises(ValueError, match=message):
        network.build((3, 32, 32), 0)
