"""A stock pipeline of diffusers samples from an exported folder what limpid samples, from the same seeds."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from random_models import DEMO, EDM, EPS, EXACT, LEARNED, NETWORKS, SMALL, random_pipeline, saved_model

from limpid.cli.main import main
from limpid.diffusion.denoiser import Timestep
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.samplers import Ancestral, Ddim, DpmSolverPP, Heun
from limpid.diffusion.schedules import (
    Cosine,
    Karras,
    LinearBeta,
    RectifiedFlow,
    ScaledLinearBeta,
    ZeroTerminalSnr,
)
from limpid.diffusion.targets import Flow, V
from limpid.interop.diffusers_folder import diffusers_reasons
from limpid.interop.diffusers_scheduler import scheduler_mapping
from limpid.interop.unet2d import unet2d_config, unet2d_reasons
from limpid.interop.unet2d_names import unet2d_tensors
from limpid.nets import DiT, UNet
from limpid.recipes.recipe import Recipe, Sampling
from limpid.recipes.registry import RECIPES
from limpid.sampling.pipeline import load
from limpid.sampling.sample import noise_seed

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


@torch.no_grad()
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_an_exported_network_is_the_same_function(network: UNet, classes: int, diffusers: ModuleType):
    recipe = Recipe(network=network, class_conditional=bool(classes))
    net = random_pipeline(recipe, (3, 8, 16)).model.net
    theirs = diffusers.UNet2DModel.from_config(unet2d_config(network, (3, 8, 16), classes, 1))
    theirs.load_state_dict(unet2d_tensors(network, net.state_dict()))
    x, t, labels = torch.randn(2, 3, 8, 16), torch.tensor([3, 800]), torch.tensor([1, 3]) if classes else None
    torch.testing.assert_close(theirs(x, t, labels).sample, net(x, t.float(), labels), rtol=1e-5, atol=2e-5)


ALL_STEPS = replace(
    EPS,
    network=replace(SMALL, channel_mult=(1,), attn_resolutions=(8,)),
    schedule=LinearBeta(),
    noise_conditioning=Timestep(),
)
COSINE = replace(EPS, schedule=Cosine(T=40), target=V())
ZERO = ZeroTerminalSnr(ScaledLinearBeta(T=40))
SAMPLED: dict[str, tuple[Recipe, Sampling]] = {
    "large": (ALL_STEPS, Sampling(250, spacing="leading")),
    "small": (EPS, Sampling(7, Ancestral("small"))),
    "leading": (EPS, Sampling(8, spacing="leading")),
    "linspace": (EPS, Sampling(9, spacing="linspace")),
    "conditional": (replace(EPS, class_conditional=True), Sampling(8, spacing="leading")),
    "learned": (LEARNED, Sampling(40, Ancestral("learned"), spacing="leading")),
    "ddim": (COSINE, Sampling(8, Ddim(), clip_denoised=False)),
    "ddim clipped": (COSINE, Sampling(8, Ddim())),
    "ddim with noise": (EPS, Sampling(8, Ddim(0.5), spacing="leading")),
    "ddim conditional": (replace(COSINE, class_conditional=True), Sampling(8, Ddim(), clip_denoised=False)),
    "zero snr": (
        replace(COSINE, schedule=ZERO),
        Sampling(8, Ddim(), clip_denoised=False),
    ),
    "own table": (replace(EPS, schedule=Cosine(T=40, beta_max=0.9)), Sampling(40, Ancestral("small"))),
    "dpm": (COSINE, Sampling(10, DpmSolverPP(), clip_denoised=False)),
    "dpm sde": (COSINE, Sampling(10, DpmSolverPP(sde=True), clip_denoised=False)),
    "edm euler": (EDM, Sampling(8, Ddim(), schedule=Karras(sigma_min=0.01), clip_denoised=False)),
    "edm dpm": (replace(EDM, class_conditional=True), Sampling(8, DpmSolverPP(), Karras(), clip_denoised=False)),
}


@pytest.mark.parametrize(("recipe", "sampling"), SAMPLED.values(), ids=SAMPLED)
def test_a_stock_pipeline_samples_the_same_images(
    recipe: Recipe, sampling: Sampling, diffusers: ModuleType, tmp_path: Path
):
    model = saved_model(tmp_path, replace(recipe, sampling=sampling))
    assert main(["export", "diffusers", model, "--out", str(tmp_path / "f")]) == 0
    pipeline = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "f")
    pipeline.set_progress_bar_config(disable=True)
    labels = {"class_labels": [0, 1, 1, 2]} if recipe.class_conditional else {}
    seeds = [torch.Generator().manual_seed(noise_seed(seed)) for seed in range(4)]
    call = scheduler_mapping(replace(recipe, sampling=sampling), (3, 8, 8)).call
    found = pipeline(batch_size=4, generator=seeds, output_type="np", **call, **labels).images
    expected = load(model, runtime=EXACT).sample(4, labels=labels.get("class_labels")).pixels
    apart = (torch.from_numpy(found).permute(0, 3, 1, 2) * 255).round() - expected
    assert expected.float().std() > 20
    assert apart.abs().max() <= 1
    assert apart.count_nonzero() <= 0.005 * apart.numel()


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (RECIPES["demo"](), "norms have 8, 16, 24, 32 groups"),
        (RECIPES["demo"](), "no stock pipeline has guidance: --guidance 1"),
        (RECIPES["cifar10-small"](), "patch_size 2"),
        (RECIPES["cifar10-fast"](), r"num_blocks \(1, 2, 2\)"),
        (RECIPES["cifar10-edm"](), "arch ddpmpp: .+; diffusers has no Heun for the target Edm: --sampler DpmSolverPP"),
        (RECIPES["cifar10-flow"](), "no scheduler of diffusers is for a network for the target Flow"),
        (RECIPES["cifar10-iddpm"](), "given t / 4, .+: --steps 1000 --spacing leading"),
        (replace(EPS, network=DiT(), sampling=Sampling(40)), "the network is a DiT"),
        (
            replace(EPS, network=UNet(fourier_std=1.0), sampling=Sampling(40)),
            "fourier_std 1: UNet2DModel embeds the noise level by a sinusoid",
        ),
        (replace(EPS, sampling=Sampling(10)), "adds noise after the last of them: --spacing leading, or --steps 40"),
        (replace(EPS, sampling=Sampling(7, Ddim())), "DDIM takes equal steps"),
        (replace(EPS, sampling=Sampling(7, Heun())), "no pipeline of diffusers samples by Heun"),
        (replace(EPS, sampling=Sampling(7, DpmSolverPP())), "does not clip: --no-clip-denoised"),
        (replace(EPS, sampling=Sampling(8, Ddim()), class_conditional=True), "cannot clip as limpid does"),
        (replace(EPS, sampling=Sampling(schedule=LinearBeta())), "diffusers samples along the 40 steps of training"),
        (replace(EPS, schedule=LinearBeta(T=40), sampling=Sampling(40)), "begin at noise of sigma 0.577"),
        (replace(EPS, target=Flow(), schedule=RectifiedFlow()), "no scheduler of diffusers"),
        (replace(EPS, sampling=Sampling(40, Ancestral("learned"))), "only where, the network has learned it"),
        (replace(EDM, sampling=Sampling(7, Ddim(), Karras())), "do not clip: --no-clip-denoised"),
        (replace(EDM, sampling=Sampling(7, Ddim(), clip_denoised=False)), "levels of LogNormal"),
        (replace(EPS, sampling=Sampling(40, guidance=Guidance(2.0))), "--guidance 1"),
    ],
)
def test_what_diffusers_would_sample_otherwise_is_refused_with_what_works(recipe: Recipe, message: str):
    shape = (3, 8, 8) if recipe.network == SMALL else (3, 16, 16) if recipe.network == DEMO else (3, 32, 32)
    assert re.search(message, "; ".join(diffusers_reasons(recipe, shape)))


def test_most_networks_of_the_recipes_are_those_of_diffusers():
    mapped = {name for name, recipe in RECIPES.items() if not unet2d_reasons(recipe().network, (3, 32, 32))}
    assert set(RECIPES) - mapped == {
        "demo",
        "demo-ddpm",
        "cifar10-small",
        "small",
        "cifar10-64-small",
        "cifar10-fast",
        "cifar10-edm",
        "cifar10-edm-cond",
    }


def test_a_refusal_is_one_line_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["export", "diffusers", "cifar10-small", "--out", str(tmp_path / "f")]) == 2
    line = capsys.readouterr().err
    assert line.startswith("limpid: no stock pipeline of diffusers samples cifar10-small as it is: patch_size 2")
    assert line.count("\n") == 1
    assert line.endswith("limpid export onnx cifar10-small takes every network, and every sampler but Dopri5\n")
    assert not (tmp_path / "f").exists()


def test_the_export_imports_no_diffusers_and_prints_a_call_that_runs(tmp_path: Path, diffusers: ModuleType):
    model = saved_model(tmp_path, replace(COSINE, sampling=Sampling(2, Ddim())))
    code = f"import sys; from limpid.cli.main import main; main(['export', 'diffusers', {model!r}, '--out', 'f']); "
    code += "sys.exit('diffusers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    folder, _, call = done.stdout.splitlines()
    assert folder == "f"
    assert "num_inference_steps=2, use_clipped_model_output=True" in call
    call = call.replace('"f"', repr(str(tmp_path / "f")))
    assert len(eval(call, {"diffusers": diffusers, "torch": torch})) == 4
