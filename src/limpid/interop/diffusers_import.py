"""A folder of diffusers with a `UNet2DModel` and a scheduler, read as a recipe and weights, without diffusers.

A field that config.json does not have is diffusers' default of today. What limpid has no equal for is refused by name.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from limpid.diffusion.denoiser import LogSigma, NoiseConditioning, Timestep
from limpid.diffusion.discrete_schedules import Cosine, Discrete, LinearBeta, ScaledLinearBeta, ZeroTerminalSnr
from limpid.diffusion.samplers import Ancestral, Ddim, DpmSolverPP, Sampler
from limpid.diffusion.schedules import Karras, LogNormal, Schedule
from limpid.diffusion.targets import X0, Edm, Eps, Target, V
from limpid.interop.diffusers_folder import METADATA_FILE, WEIGHTS_FILE
from limpid.interop.diffusers_scheduler import scheduler_mapping
from limpid.interop.foreign_model import ForeignModel, ForeignOptions, fine_tuning_recipe
from limpid.interop.openai import names_of_classes, with_null_label
from limpid.interop.torch_file import read_torch_file, state_dict_from
from limpid.interop.unet2d import unet2d_config, unet2d_reasons, unet_from_config
from limpid.interop.unet2d_names import unet_tensors
from limpid.recipes.recipe import Recipe, Sampling
from limpid.recipes.registry import MAX_RECIPE_BYTES
from limpid.recipes.serialize import from_dict
from limpid.storage.checkpoint import Plain
from limpid.storage.regular_files import read_bytes

TARGETS: dict[str, Target] = {"epsilon": Eps(), "sample": X0(), "v_prediction": V()}
SCHEDULERS = (
    *("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"),
    *("DDPMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler"),
)
"""The schedulers that are read: two with EDM's preconditioning, then those along a table of betas."""
VARIANCES = {"fixed_small": "small", "fixed_small_log": "small", "fixed_large": "large", "fixed_large_log": "large"}


def is_diffusers_folder(path: Path) -> bool:
    """Whether a folder is a pipeline of diffusers, or the `unet` in one."""
    return (path / "model_index.json").is_file() or ((path / "config.json").is_file() and _weights(path) is not None)


def diffusers_model(folder: Path, options: ForeignOptions) -> ForeignModel:
    """The model in a folder. Raises ValueError if it is broken, or has what limpid has no equal for."""
    unet = folder / "unet" if (folder / "model_index.json").is_file() else folder
    config = read_json(unet / "config.json")
    scheduler_file = unet.parent / "scheduler" / "scheduler_config.json"
    scheduler = read_json(scheduler_file) if scheduler_file.is_file() else {"_class_name": "DDPMScheduler"}
    metadata = read_json(folder / METADATA_FILE) if (folder / METADATA_FILE).is_file() else {}
    if not (exported := exported_recipe(metadata, config, scheduler)):
        metadata = {}
    network, shape, classes, out_channels = unet_from_config(config, options.size)
    with torch.device("meta"):  # a network of absurd size is refused before its parts are counted
        network.build(shape, classes)
    state = unet_tensors(network, unet2d_weights(unet), bool(config.get("flip_sin_to_cos", True)))
    if exported:
        names = tuple(metadata["class_names"])
        return ForeignModel(exported, shape, names, {"ema": state}, metadata)
    if not (classes and len(options.classes) == classes - 1):
        classes, state = with_null_label(state)
    else:
        classes -= 1
    learned = out_channels == 2 * shape[0]
    recipe = recipe_from_scheduler(scheduler, network, conditional=bool(classes), learned_variance=learned)
    return ForeignModel(recipe, shape, names_of_classes(classes, options), {"ema": state})


def exported_recipe(metadata: Plain, config: Plain, scheduler: Plain) -> Recipe | None:
    """The recipe of a folder that limpid exported, if its files are still those of that recipe."""
    try:
        recipe = from_dict(Recipe, metadata["recipe"])
        channels, height, width = metadata["image_shape"]
        shape, classes = (int(channels), int(height), int(width)), len(metadata["class_names"])
        if unet2d_reasons(recipe.network, shape):
            return None
        classes = classes if recipe.class_conditional else 0
        written = unet2d_config(recipe.network, shape, classes, 2 if recipe.learned_variance else 1)
        mapping = scheduler_mapping(recipe, shape)
    except (KeyError, TypeError, ValueError):
        return None
    expected = mapping.config | {"_class_name": mapping.scheduler}
    same = _without_version(config) == written and _without_version(scheduler) == expected
    return recipe if same else None


def recipe_from_scheduler(scheduler: Plain, network: Any, *, conditional: bool, learned_variance: bool) -> Recipe:
    """The recipe of a network that a scheduler of diffusers samples from. Raises ValueError for an unknown one."""
    kind = scheduler.get("_class_name")
    if scheduler.get("thresholding", False):
        raise ValueError(f"{kind} with thresholding: limpid has none")
    if kind in SCHEDULERS[:2]:
        schedule, target, given, sampling = _edm_sampling(scheduler, kind)
    else:
        schedule, target, given, sampling = _table_sampling(scheduler, kind, learned_variance)
    return fine_tuning_recipe(
        network,
        conditional=conditional,
        learned_variance=learned_variance,
        schedule=schedule,
        target=target,
        noise_conditioning=given,
        sampling=sampling,
    )


Parts = tuple[Schedule, Target, NoiseConditioning, Sampling]


def _edm_sampling(scheduler: Plain, kind: str) -> Parts:
    refuse_other(scheduler, {"sigma_schedule": "karras", "prediction_type": "epsilon", "final_sigmas_type": "zero"})
    sigma_data = float(scheduler.get("sigma_data", 0.5))
    levels = Karras(*(float(scheduler.get(n, d)) for n, d in (("sigma_min", 0.002), ("sigma_max", 80.0), ("rho", 7.0))))
    sampler = Ddim() if kind == "EDMEulerScheduler" else _dpm_solver(scheduler)
    return LogNormal(), Edm(sigma_data), LogSigma(sigma_data), Sampling(18, sampler, levels, clip_denoised=False)


def _table_sampling(scheduler: Plain, kind: str | None, learned_variance: bool) -> Parts:
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in TARGETS:
        raise ValueError(f"prediction_type {prediction!r}: expected one of {', '.join(TARGETS)}")
    schedule = table_from(scheduler)
    spacing, clip = scheduler.get("timestep_spacing", "leading"), bool(scheduler.get("clip_sample", True))
    if spacing not in ("leading", "trailing", "linspace"):
        raise ValueError(f"timestep_spacing {spacing!r}: expected leading, trailing or linspace")
    if kind == "DDPMScheduler":
        sampler, steps = _ancestral(scheduler, learned_variance), schedule.T
    elif kind == "DDIMScheduler":
        sampler, steps = Ddim(), min(50, schedule.T)
        refuse_other(scheduler, {"set_alpha_to_one": True})
    elif kind == "DPMSolverMultistepScheduler":
        sampler, steps, spacing, clip = _dpm_solver(scheduler), min(20, schedule.T), "trailing", False
    else:
        raise ValueError(f"scheduler {kind!r}: expected one of {', '.join(SCHEDULERS)}")
    if clip:
        refuse_other(scheduler, {"clip_sample_range": 1})
    refuse_other(scheduler, {"steps_offset": 0})
    sampling = Sampling(steps, sampler, spacing=spacing, clip_denoised=clip)
    return schedule, TARGETS[prediction], Timestep(steps=schedule.T), sampling


def table_from(scheduler: Plain) -> Discrete:
    """The table of betas. Raises ValueError for one that limpid has no schedule for."""
    refuse_other(scheduler, {"trained_betas": None})
    T = from_dict(int, scheduler.get("num_train_timesteps", 1000), "num_train_timesteps")
    ends = [from_dict(float, scheduler.get(n, d), n) for n, d in (("beta_start", 1e-4), ("beta_end", 0.02))]
    tables: dict[str, LinearBeta | ScaledLinearBeta | Cosine] = {
        "linear": LinearBeta(T, *ends),
        "scaled_linear": ScaledLinearBeta(T, *ends),
        "squaredcos_cap_v2": Cosine(T),
    }
    name = scheduler.get("beta_schedule", "linear")
    if name not in tables:
        raise ValueError(f"beta_schedule {name!r}: expected one of {', '.join(tables)}")
    return ZeroTerminalSnr(tables[name]) if scheduler.get("rescale_betas_zero_snr") else tables[name]


def _ancestral(scheduler: Plain, learned_variance: bool) -> Ancestral:
    variance = scheduler.get("variance_type", "fixed_small")
    if variance == "learned_range" and learned_variance:
        return Ancestral("learned")
    if variance not in VARIANCES or learned_variance:
        raise ValueError(
            f"variance_type {variance!r}: expected one of {', '.join(VARIANCES)}, or learned_range for a "
            "network with twice the channels"
        )
    return Ancestral("large" if VARIANCES[variance] == "large" else "small")


def _dpm_solver(scheduler: Plain) -> Sampler:
    refuse_other(scheduler, {"solver_type": "midpoint"})
    order, algorithm = scheduler.get("solver_order", 2), scheduler.get("algorithm_type", "dpmsolver++")
    if order not in (1, 2) or algorithm not in ("dpmsolver++", "sde-dpmsolver++"):
        raise ValueError(f"solver_order {order} of {algorithm}: expected 1 or 2 of dpmsolver++ or sde-dpmsolver++")
    return DpmSolverPP(1 if order == 1 else 2, sde=algorithm == "sde-dpmsolver++")


def refuse_other(config: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raise ValueError if a field is there with another value than the only one that limpid has an equal for."""
    for name, value in expected.items():
        if config.get(name, value) != value:
            raise ValueError(f"{name} {config[name]!r}: limpid has {value!r} alone")


def read_json(path: Path) -> Plain:
    """The table in a file of JSON. Raises ValueError, with the file's name, if there is none."""
    try:
        plain = json.loads(read_bytes(path, MAX_RECIPE_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    if not isinstance(plain, dict):
        raise ValueError(f"{path} holds a {type(plain).__name__}: expected a table")
    return plain


def unet2d_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of a folder in float32, from safetensors, or from a file of torch.save."""
    path = _weights(folder)
    if path is None:
        raise ValueError(f"{folder} has no {WEIGHTS_FILE}")
    if path.suffix != ".safetensors":
        return state_dict_from(read_torch_file(path))
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name).to(torch.float32) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error


def _weights(folder: Path) -> Path | None:
    names = (WEIGHTS_FILE, "diffusion_pytorch_model.bin")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _without_version(config: Plain) -> Plain:
    return {name: value for name, value in config.items() if name != "_diffusers_version"}
