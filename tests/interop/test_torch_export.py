"""A program of torch.export is the denoiser, bit for bit, in batches of any size."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_models import random_pipeline, saved_model

from limpid.cli.main import main
from limpid.diffusion.level import Level
from limpid.diffusion.schedules import Cosine
from limpid.interop.torch_export import torch_program
from limpid.nets import DiT, UNet
from limpid.recipes.registry import RECIPES
from limpid.runtime.device import Runtime
from limpid.sampling.pipeline import load

SHAPE = (1, 8, 8)
UNET = UNet(model_channels=8, channel_mult=(1, 2), num_blocks=1, attn_resolutions=(), dropout=0.0)
RECIPES_OF_KINDS = {
    "UNet": replace(RECIPES["demo"](), network=UNET),
    "DiT with a learned variance": replace(
        RECIPES["cifar10-iddpm"](), network=DiT(2, 16, 2, 2), schedule=Cosine(37), class_conditional=True
    ),
}


@pytest.mark.parametrize("kind", RECIPES_OF_KINDS)
def test_the_program_of_a_run_is_its_denoiser_in_batches_of_any_size(kind: str, tmp_path: Path):
    run = saved_model(tmp_path, RECIPES_OF_KINDS[kind], SHAPE)
    assert main(["export", "torch", run, "--out", str(tmp_path / "tiny.pt2")]) == 0
    program, model = torch.export.load(tmp_path / "tiny.pt2").module(), load(run, runtime=Runtime("cpu")).model
    for n in (1, 3, 7):
        x, labels = torch.randn(n, *SHAPE), torch.randint(0, 4, (n,))
        alpha, sigma = torch.rand(2, n, dtype=torch.float64) + 0.1
        with torch.no_grad():
            expected = model.denoise_with_variance(x, Level(alpha, sigma), labels)
            found = program(x, alpha, sigma, labels)
        assert all(map(torch.equal, found if model.learns_variance else [found], filter(torch.is_tensor, expected)))


class OfValues(torch.nn.Module):
    def forward(self, x: torch.Tensor, c_noise: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return x if x.mean().item() > 0 else -x


def test_a_network_that_cannot_be_followed_is_refused_in_one_line():
    model = random_pipeline(RECIPES["demo"](), (1, 16, 16)).model
    model.net = OfValues()
    with pytest.raises(ValueError, match=r"^OfValues cannot be exported: [^\n]*$"):
        torch_program(model, (1, 16, 16))
