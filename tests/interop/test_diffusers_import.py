"""A folder that diffusers has saved is the same model in limpid, and an exported one comes back as it was."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from random_models import EDM, EPS, EXACT, LEARNED, NETWORKS, random_pipeline, saved_model
from safetensors.torch import load_file

from limpid.cli.import_model import own_images_options
from limpid.cli.main import main
from limpid.data import Digits, Folder
from limpid.diffusion.samplers import Ancestral, Ddim, DpmSolverPP
from limpid.diffusion.schedules import Karras
from limpid.interop.foreign import read_foreign
from limpid.interop.foreign_model import ForeignOptions
from limpid.nets import UNet
from limpid.recipes.recipe import Recipe, Sampling
from limpid.sampling.checkpoints import find_checkpoint
from limpid.sampling.pipeline import load
from limpid.sampling.sample import noise_seed

DOWN, ATTEND, RESNET = "DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D"


def blocks(*down: str) -> dict[str, Any]:
    """The types of the blocks of both sides."""
    up = [kind.replace("Downsample", "Upsample").replace("Down", "Up") for kind in reversed(down)]
    return {"down_block_types": down, "up_block_types": up}


GOOGLE = {"norm_eps": 1e-6, "downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1}
CONFIGS: dict[str, dict[str, Any]] = {
    "google's": GOOGLE
    | {"block_out_channels": (32, 64), "attention_head_dim": None, "norm_num_groups": 8, **blocks(DOWN, ATTEND)},
    "defaults": {"block_out_channels": (32, 64, 64), **blocks(DOWN, ATTEND, ATTEND)},
    "train_unconditional.py": {
        "layers_per_block": 2,
        "sample_size": 32,
        "block_out_channels": (32, 32, 64, 64, 64),
        **blocks(DOWN, DOWN, DOWN, ATTEND, DOWN),
    },
    "classes": {
        "block_out_channels": (32, 64),
        "num_class_embeds": 5,
        "resnet_time_scale_shift": "scale_shift",
        "attn_norm_num_groups": 32,
        "downsample_type": "resnet",
        "upsample_type": "resnet",
        **blocks(RESNET, ATTEND),
    },
}


@pytest.fixture(scope="module", params=CONFIGS)
def folder(request: pytest.FixtureRequest, diffusers: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of diffusers with random weights, saved by diffusers."""
    torch.manual_seed(1)
    unet = diffusers.UNet2DModel(**{"sample_size": 16, "layers_per_block": 1} | CONFIGS[request.param])
    with torch.no_grad():
        for weight in unet.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=20, beta_end=0.9, variance_type="fixed_large")
    folder = tmp_path_factory.mktemp("model")
    diffusers.DDPMPipeline(unet, scheduler).save_pretrained(folder)
    return folder


@torch.no_grad()
def test_an_imported_network_is_the_same_function(folder: Path, diffusers: ModuleType):
    unet, pipeline = diffusers.UNet2DModel.from_pretrained(folder, subfolder="unet"), load(folder, runtime=EXACT)
    labels = torch.tensor([0, 4]) if pipeline.class_names else None
    x, t = torch.randn(2, *pipeline.image_shape), torch.tensor([3, 18])
    expected = unet(x, t, labels).sample
    assert expected.std() > 0.3
    assert (pipeline.model.net(x, t.float(), labels) - expected).abs().max() < 5e-5 * expected.std()


def test_an_imported_model_samples_the_same_images(folder: Path, diffusers: ModuleType):
    pipeline = load(folder, runtime=EXACT)
    assert pipeline.recipe.sampling == Sampling(20, Ancestral("large"), spacing="leading")
    if pipeline.class_names:
        return
    stock = diffusers.DDPMPipeline.from_pretrained(folder)
    stock.set_progress_bar_config(disable=True)
    seeds = [torch.Generator().manual_seed(noise_seed(seed)) for seed in range(2)]
    found = stock(batch_size=2, generator=seeds, num_inference_steps=20, output_type="np").images
    apart = (torch.from_numpy(found).permute(0, 3, 1, 2) * 255).round() - pipeline.sample(2).pixels
    assert apart.abs().max() <= 1
    assert apart.count_nonzero() <= 0.01 * apart.numel()


def test_names_of_attention_before_diffusers_0_15_and_files_of_torch_are_read(folder: Path, tmp_path: Path):
    state = read_foreign(folder, ForeignOptions()).tensors["ema"]
    named = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    for now, before in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        named = {name.replace(now, before): tensor for name, tensor in named.items()}
    torch.save(named, tmp_path / "diffusion_pytorch_model.bin")
    (tmp_path / "config.json").write_text((folder / "unet" / "config.json").read_text())
    again = read_foreign(tmp_path, ForeignOptions()).tensors["ema"]
    assert state.keys() == again.keys()
    assert all(torch.equal(state[name], again[name]) for name in state)


EXPORTS: dict[str, Recipe] = {
    **{name: replace(EPS, network=network, sampling=Sampling(40)) for name, network in NETWORKS.items()},
    "classes": replace(EPS, class_conditional=True, label_dropout=0.1, sampling=Sampling(40)),
    "edm": replace(EDM, sampling=Sampling(8, DpmSolverPP(), Karras(), clip_denoised=False)),
    "learned": replace(LEARNED, sampling=Sampling(40, Ancestral("learned"), spacing="leading")),
    "ddim": replace(EPS, sampling=Sampling(40, Ddim())),
}


def test_the_command_that_trains_an_import_on_reads_images_in_the_shape_of_its_network():
    assert own_images_options(EPS, (3, 8, 8)) == "--data FOLDER --data.size 8 --data.channels RGB"
    digits = replace(EPS, data=Digits())
    assert own_images_options(digits, (1, 8, 4)) == "--data FOLDER --data.size 8 --data.width 4 --data.channels L"
    assert own_images_options(replace(EPS, data=Folder(size=8)), (3, 8, 8)) == "--data FOLDER"


@pytest.mark.parametrize("recipe", EXPORTS.values(), ids=EXPORTS)
def test_an_export_comes_back_to_the_bit_and_without_limpids_file_all_but_what_a_folder_cannot_say(
    recipe: Recipe, tmp_path: Path
):
    model = saved_model(tmp_path, recipe)
    assert main(["export", "diffusers", model, "--out", str(tmp_path / "f")]) == 0
    expected, found = find_checkpoint(model).about, find_checkpoint(tmp_path / "f").about
    assert found == expected
    state = random_pipeline(recipe).model.net.state_dict()
    tensors = read_foreign(tmp_path / "f", ForeignOptions()).tensors["ema"]
    assert all(torch.equal(tensors[name], weight) for name, weight in state.items())
    (tmp_path / "f" / "limpid.json").unlink()
    if recipe.learned_variance:
        with pytest.raises(ValueError, match=r"trained_betas .+: limpid has None alone"):
            find_checkpoint(tmp_path / "f")
        return
    options = ForeignOptions(classes=expected.class_names)
    alone = read_foreign(tmp_path / "f", options)
    assert all(torch.equal(alone.tensors["ema"][name], weight) for name, weight in state.items())
    assert isinstance(alone.recipe.network, UNet)
    assert replace(alone.recipe.network, norm_num_groups=8) == recipe.network
    assert (alone.recipe.target, alone.recipe.noise_conditioning) == (recipe.target, recipe.noise_conditioning)
    assert alone.class_names == expected.class_names


def changed(folder: Path, target: Path, file: str, **fields: Any) -> Path:
    """A copy of a pipeline's files of JSON with other fields; its weights are a link."""
    for name in ("unet/config.json", "scheduler/scheduler_config.json", "model_index.json"):
        plain = json.loads((folder / name).read_text())
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(json.dumps(plain | fields if name.endswith(f"{file}.json") else plain))
    (target / "unet" / "diffusion_pytorch_model.safetensors").symlink_to(
        folder / "unet" / "diffusion_pytorch_model.safetensors"
    )
    return target


@pytest.mark.parametrize("folder", ["google's"], indirect=True)
@pytest.mark.parametrize(
    ("file", "fields", "message"),
    [
        ("config", {"layers_per_block": 10**9}, "blocks 1000000000: expected at most 100"),
        ("config", {"block_out_channels": [32] * 4000}, "2 and 2 types of blocks: expected 4000"),
        ("config", {"block_out_channels": [32, 2**40]}, "its tensors are not those of such a model"),
        ("config", {"block_out_channels": [32, "64"]}, "block_out_channels.1. is '64': expected a whole number"),
        ("config", {"sample_size": None}, "no sample_size: name it with --size"),
        ("config", {"center_input_sample": True}, "center_input_sample True: limpid has False alone"),
        ("config", {"time_embedding_type": "fourier"}, "time_embedding_type 'fourier'"),
        ("config", {"mid_block_type": None}, "mid_block_type None"),
        ("config", {"norm_eps": 1e-5}, "norm_eps 1e-05, downsample_padding 0, freq_shift 1"),
        ("config", {"new_field": 3}, "its config has new_field 3"),
        ("config", {"down_block_types": ["SkipDownBlock2D", DOWN]}, "block type 'SkipDownBlock2D'"),
        ("config", {"resnet_time_scale_shift": "scale_shift"}, "attn_norm_num_groups None"),
        ("config", {"attention_head_dim": 8.5}, "attention_head_dim is 8.5"),
        ("scheduler_config", {"beta_schedule": "laplace"}, "beta_schedule 'laplace': expected one of linear"),
        ("scheduler_config", {"prediction_type": "flow"}, "prediction_type 'flow'"),
        ("scheduler_config", {"_class_name": "PNDMScheduler"}, "scheduler 'PNDMScheduler': expected one of"),
        ("scheduler_config", {"num_train_timesteps": 10**12}, "expected 1 to 1,000,000 steps"),
        ("scheduler_config", {"thresholding": True}, "with thresholding"),
        ("scheduler_config", {"clip_sample_range": 2}, "clip_sample_range 2"),
    ],
)
def test_what_limpid_has_no_equal_for_is_refused_by_name(
    folder: Path, file: str, fields: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = changed(folder, tmp_path / "model", file, **fields)
    assert main(["import", str(path), "--run", str(tmp_path / "run")]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert re.search(message, line), line
    assert not (tmp_path / "run").exists()
