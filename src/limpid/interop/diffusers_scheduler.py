"""How a recipe samples, as a pipeline and scheduler of diffusers that generate the same images from the same seeds.

`DDPMPipeline` and `DDIMPipeline` give the network no labels and do not scale its input: what needs either is sampled by
`ConsistencyModelPipeline`, which is diffusers' plain loop for any scheduler.
"""

from dataclasses import dataclass, field

import torch

from limpid.diffusion.denoiser import LogSigma, Timestep
from limpid.diffusion.discrete_schedules import Cosine, Discrete, LinearBeta, ScaledLinearBeta, ZeroTerminalSnr
from limpid.diffusion.samplers import Ancestral, Ddim, DpmSolverPP
from limpid.diffusion.schedules import Karras, alpha_bars, sampling_levels
from limpid.diffusion.targets import X0, Edm, Eps, Target, V
from limpid.recipes.recipe import Recipe
from limpid.storage.checkpoint import Plain

PREDICTION_TYPES: dict[type[Target], str] = {Eps: "epsilon", X0: "sample", V: "v_prediction"}
VARIANCE_TYPES = {"small": "fixed_small", "large": "fixed_large", "learned": "learned_range"}
LOOP = "ConsistencyModelPipeline"


@dataclass(frozen=True)
class SchedulerMapping:
    """A pipeline and a scheduler of diffusers, or every reason why none samples as the recipe does."""

    pipeline: str = ""
    scheduler: str = ""
    config: Plain = field(default_factory=dict)
    """The fields of scheduler_config.json."""
    call: Plain = field(default_factory=dict)
    """What the pipeline has to be called with, besides the number of samples, their labels and their generators."""
    reasons: tuple[str, ...] = ()


def scheduler_mapping(recipe: Recipe, shape: tuple[int, int, int]) -> SchedulerMapping:
    """The scheduler of a recipe for images of `shape`. Each reason against one says what would work instead."""
    sampling, reasons = recipe.sampling, []
    if sampling.guidance.enabled:
        reasons.append("no stock pipeline has guidance: --guidance 1")
    mapping = _edm(recipe, recipe.target.sigma_data) if isinstance(recipe.target, Edm) else _table(recipe)
    if mapping.pipeline == LOOP and shape[1] != shape[2]:
        reasons.append(f"images of {shape[1]}x{shape[2]}: {LOOP} makes square ones")
    steps = {"num_inference_steps": sampling.steps}
    call = {**steps, **mapping.call}
    return SchedulerMapping(mapping.pipeline, mapping.scheduler, mapping.config, call, (*reasons, *mapping.reasons))


def _edm(recipe: Recipe, sigma_data: float) -> SchedulerMapping:
    """EDM's preconditioning, which two schedulers of diffusers have, along Karras' levels."""
    sampler, levels = recipe.sampling.sampler, recipe.sampling_schedule
    reasons = []
    if recipe.noise_conditioning != LogSigma(sigma_data):
        reasons.append(f"target Edm with {recipe.noise_conditioning}: diffusers has LogSigma for it")
    if not isinstance(levels, Karras):
        reasons.append(
            f"levels of {type(levels).__name__}: diffusers has Karras for the target Edm (--schedule Karras)"
        )
        levels = Karras()
    if recipe.sampling.clip_denoised:
        reasons.append("diffusers' EDM schedulers do not clip: --no-clip-denoised")
    config = {
        "sigma_min": levels.sigma_min,
        "sigma_max": levels.sigma_max,
        "sigma_data": sigma_data,
        "sigma_schedule": "karras",
        "rho": levels.rho,
        "prediction_type": "epsilon",
    }
    if sampler == Ddim():
        return SchedulerMapping(LOOP, "EDMEulerScheduler", config, reasons=tuple(reasons))
    if isinstance(sampler, DpmSolverPP) and sampler.order < 3:
        config |= {"solver_order": sampler.order, "algorithm_type": _dpm_solver(sampler)}
        return SchedulerMapping(LOOP, "EDMDPMSolverMultistepScheduler", config, reasons=tuple(reasons))
    reasons.append(
        f"diffusers has no {type(sampler).__name__} for the target Edm: --sampler DpmSolverPP or --sampler Ddim"
    )
    return SchedulerMapping(LOOP, reasons=tuple(reasons))


def _table(recipe: Recipe) -> SchedulerMapping:
    """A table of T steps, whose number the network is given."""
    sampling, prediction = recipe.sampling, PREDICTION_TYPES.get(type(recipe.target))
    sampler, levels, given = sampling.sampler, recipe.sampling_schedule, recipe.noise_conditioning
    if prediction is None or not isinstance(given, Timestep) or given.sigma_data != 1:
        conditioning = f"a network for the target {type(recipe.target).__name__} with {given}"
        return SchedulerMapping(reasons=(f"no scheduler of diffusers is for {conditioning}",))
    if not isinstance(levels, Discrete) or levels != recipe.schedule or given.steps != levels.T:
        return SchedulerMapping(
            reasons=(f"levels of {levels}: diffusers samples along the {given.steps} steps of training",)
        )
    stride = levels.T // 1000 if given.rescale_timesteps and levels.T % 1000 == 0 else 1
    reasons = []
    if given.rescale_timesteps and stride * 1000 != levels.T:
        reasons.append(f"timesteps of {levels.T} steps rescaled to 1000: diffusers gives the network whole numbers")
    elif stride > 1 and (sampling.spacing != "leading" or levels.T // sampling.steps % stride):
        reasons.append(
            f"the network is given t / {stride}, and diffusers gives it whole numbers: --steps 1000 --spacing leading"
        )
    start = sampling_levels(levels, sampling.steps, sampling.spacing)[0].sigma.item()
    if start < 0.999:
        reasons.append(f"its steps begin at noise of sigma {start:.3g}, and those of diffusers at 1")
    config = {
        **_betas(levels, stride),
        "num_train_timesteps": levels.T // stride,
        "prediction_type": prediction,
        "timestep_spacing": sampling.spacing,
    }
    labels = recipe.class_conditional
    if isinstance(sampler, Ancestral):
        return _ancestral(recipe, sampler, config, reasons)
    if isinstance(sampler, Ddim):
        return _ddim(recipe, sampler, config, reasons)
    if isinstance(sampler, DpmSolverPP) and sampler.order < 3:
        if sampling.clip_denoised:
            reasons.append("diffusers' DPM-Solver does not clip: --no-clip-denoised")
        if sampling.spacing != "trailing":
            reasons.append(f"diffusers' DPM-Solver has other {sampling.spacing} steps: --spacing trailing")
        config |= {"solver_order": sampler.order, "algorithm_type": _dpm_solver(sampler), "final_sigmas_type": "zero"}
        pipeline = LOOP if labels else "DDPMPipeline"
        return SchedulerMapping(pipeline, "DPMSolverMultistepScheduler", config, reasons=tuple(reasons))
    reasons.append(
        f"no pipeline of diffusers samples by {type(sampler).__name__}: --sampler Ancestral, Ddim or DpmSolverPP"
    )
    return SchedulerMapping(reasons=tuple(reasons))


def _ancestral(recipe: Recipe, sampler: Ancestral, config: Plain, reasons: list[str]) -> SchedulerMapping:
    sampling = recipe.sampling
    if (
        sampling.spacing == "trailing"
        and sampling.steps < config["num_train_timesteps"]
        and sampler.variance != "small"
    ):
        reasons.append(
            f"in {sampling.steps} trailing steps diffusers adds noise after the last of them: --spacing leading, or "
            f"--steps {config['num_train_timesteps']}"
        )
    if recipe.learned_variance != (sampler.variance == "learned"):
        reasons.append("diffusers needs --sampler.variance learned where, and only where, the network has learned it")
    config |= {"variance_type": VARIANCE_TYPES[sampler.variance], "clip_sample": sampling.clip_denoised}
    pipeline = LOOP if recipe.class_conditional else "DDPMPipeline"
    return SchedulerMapping(pipeline, "DDPMScheduler", config, reasons=tuple(reasons))


def _ddim(recipe: Recipe, sampler: Ddim, config: Plain, reasons: list[str]) -> SchedulerMapping:
    sampling, labels, T = recipe.sampling, recipe.class_conditional, config["num_train_timesteps"]
    if sampling.spacing == "linspace" or (sampling.spacing == "trailing" and T % sampling.steps):
        reasons.append(f"diffusers' DDIM takes equal steps: --spacing leading, or a number of --steps that divides {T}")
    if recipe.learned_variance:
        reasons.append(
            "diffusers' DDIM does not leave out a learned variance: --sampler Ancestral --sampler.variance learned"
        )
    if labels and sampling.clip_denoised:
        reasons.append(f"{LOOP}, which takes labels, cannot clip as limpid does: --no-clip-denoised")
    if labels and sampler.eta:
        reasons.append(f"{LOOP}, which takes labels, has no eta: --sampler.eta 0")
    config |= {"clip_sample": sampling.clip_denoised, "set_alpha_to_one": True}
    call: Plain = {"use_clipped_model_output": True} if sampling.clip_denoised else {}
    call |= {"eta": sampler.eta} if sampler.eta else {}
    return SchedulerMapping(LOOP if labels else "DDIMPipeline", "DDIMScheduler", config, call, tuple(reasons))


def _dpm_solver(sampler: DpmSolverPP) -> str:
    return "sde-dpmsolver++" if sampler.sde else "dpmsolver++"


def _betas(schedule: Discrete, stride: int) -> Plain:
    """The fields for a table: by its name where diffusers has one, else the numbers; every `stride`-th step of it."""
    table = schedule.table if isinstance(schedule, ZeroTerminalSnr) else schedule
    zero_snr = {"rescale_betas_zero_snr": True} if isinstance(schedule, ZeroTerminalSnr) else {}
    if stride == 1 and isinstance(table, LinearBeta | ScaledLinearBeta):
        name = "linear" if isinstance(table, LinearBeta) else "scaled_linear"
        return {"beta_schedule": name, "beta_start": table.beta_start, "beta_end": table.beta_end, **zero_snr}
    if stride == 1 and table == Cosine(T=table.T):
        return {"beta_schedule": "squaredcos_cap_v2", **zero_snr}
    bars = alpha_bars(schedule, torch.float64, torch.device("cpu"))
    bars = torch.cat([bars[:1], bars[1::stride]])
    return {"beta_schedule": "linear", "trained_betas": (1 - bars[1:] / bars[:-1]).tolist()}
