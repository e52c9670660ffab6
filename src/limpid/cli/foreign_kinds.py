"""Samplers, schedules, predictions and loss weightings under the names of k-diffusion, diffusers, EDM and ADM."""

from pathlib import Path
from typing import Any

Kind = tuple[str, dict[str, str]]
"""The kind that is meant, and the fields of it that the name sets."""

_DPM = "DpmSolverPP"

KIND_NAMES: dict[str, dict[str, Kind]] = {
    "sampler": {
        "ddpm": ("Ancestral", {}),
        "ancestral": ("Ancestral", {}),
        "euler": ("Ddim", {"eta": "0"}),
        "ddim": ("Ddim", {"eta": "0"}),
        "euler_ancestral": ("Ddim", {"eta": "1"}),
        "euler_a": ("Ddim", {"eta": "1"}),
        "heun": ("Heun", {}),
        "dpmpp_2m": (_DPM, {"order": "2", "sde": "false"}),
        "dpmpp_2m_sde": (_DPM, {"order": "2", "sde": "true"}),
        "dpmpp_3m": (_DPM, {"order": "3", "sde": "false"}),
        "dpmpp_3m_sde": (_DPM, {"order": "3", "sde": "true"}),
        "dpmpp_2s": ("DpmSolverPP2S", {}),
        "unipc": ("UniPC", {}),
        "deis": ("Deis", {}),
        "lms": ("Lms", {}),
        "dopri5": ("Dopri5", {}),
        "rk45": ("Dopri5", {}),
        "ode": ("Dopri5", {}),
        "ddpmscheduler": ("Ancestral", {}),
        "ddimscheduler": ("Ddim", {"eta": "0"}),
        "eulerdiscretescheduler": ("Ddim", {"eta": "0"}),
        "eulerancestraldiscretescheduler": ("Ddim", {"eta": "1"}),
        "heundiscretescheduler": ("Heun", {}),
        "dpmsolvermultistepscheduler": (_DPM, {"order": "2", "sde": "false"}),
        "dpmsolversinglestepscheduler": ("DpmSolverPP2S", {}),
        "unipcmultistepscheduler": ("UniPC", {}),
        "deismultistepscheduler": ("Deis", {}),
        "lmsdiscretescheduler": ("Lms", {}),
    },
    "schedule": {
        "linear": ("LinearBeta", {}),
        "scaled_linear": ("ScaledLinearBeta", {}),
        "squaredcos_cap_v2": ("Cosine", {}),
        "flow": ("RectifiedFlow", {}),
        "rectified_flow": ("RectifiedFlow", {}),
        "vp": ("VpSde", {}),
        "edm": ("Karras", {}),
        "lognormal": ("LogNormal", {}),
    },
    "target": {
        "epsilon": ("Eps", {}),
        "sample": ("X0", {}),
        "v_prediction": ("V", {}),
        "velocity": ("V", {}),
        "flow_prediction": ("Flow", {}),
    },
    "loss-weighting": {
        "none": ("Unweighted", {}),
        "uniform": ("Unweighted", {}),
        "snr": ("SnrWeight", {}),
        "min_snr": ("MinSnrWeight", {}),
        "soft_min_snr": ("SoftMinSnr", {}),
        "edm": ("EdmWeight", {}),
        "karras": ("EdmWeight", {}),
    },
    "level-sampler": {
        "uniform": ("UniformLevels", {}),
        "loss_second_moment": ("LossSecondMoment", {}),
    },
    "precision": {
        "bf16": ("bfloat16", {}),
        "fp32": ("float32", {}),
        "float": ("float32", {}),
        "no": ("float32", {}),
    },
    "lr-schedule": {"constant": ("none", {}), "constant_with_warmup": ("none", {})},
}
"""By the last word of an option, its values in other programs, each with limpid's kind and the fields that it sets."""

_MULTISTEP = "the nearest is dpmpp_2m (DpmSolverPP, of order 1 to 3)"
_NOISY = "the nearest is dpmpp_2m_sde (DpmSolverPP with --sampler.sde)"
_MIDPOINT = "the nearest is heun (Heun), of order 2 with two evaluations per step"

NO_KIND: dict[str, dict[str, str]] = {
    "sampler": {
        **dict.fromkeys(("dpm_fast", "dpm_solver", "dpmpp", "dpm"), _MULTISTEP),
        **dict.fromkeys(("dpmpp_sde", "dpmpp_2s_ancestral", "dpmsolversdescheduler", "er_sde", "sa_solver"), _NOISY),
        **dict.fromkeys(("dpm_2", "kdpm2discretescheduler", "midpoint", "rk2"), _MIDPOINT),
        **dict.fromkeys(
            ("dpm_2_ancestral", "kdpm2ancestraldiscretescheduler"),
            "the nearest is euler_ancestral (Ddim with --sampler.eta 1), or heun with --sampler.churn",
        ),
        **{f"{name}_karras": f"it is {name} with --sampling-schedule Karras" for name in ("euler", "heun", "dpmpp_2m")},
        "dpmpp_2m_sde_karras": "it is dpmpp_2m_sde with --sampling-schedule Karras",
        **dict.fromkeys(("dpm_adaptive", "rk4"), "the nearest is dopri5 (Dopri5), which chooses its own steps"),
        **dict.fromkeys(
            ("pndm", "plms", "ipndm", "ipndm_v", "pndmscheduler", "ipndmscheduler"),
            "the nearest is lms (Lms), or deis (Deis)",
        ),
        **dict.fromkeys(
            ("lcm", "tcd", "lcmscheduler", "tcdscheduler"),
            "it samples from distilled networks; for few steps the nearest is unipc (UniPC) or dpmpp_2m",
        ),
    },
    "schedule": {
        "ve": "the variance-exploding levels of EDM are Karras (sampling) and LogNormal (training)",
        "exponential": "the nearest is Karras with a large --schedule.rho",
    },
    "precision": dict.fromkeys(
        ("fp16", "float16", "half"), "choose bfloat16, which has the range of float32, or float32"
    ),
    "lr-schedule": dict.fromkeys(("cosine_with_restarts", "polynomial"), "choose none, linear or cosine"),
}
"""Names without a counterpart in limpid, each with the nearest one."""


def kind_word(text: str) -> str:
    """A name as the tables write it: `DPM++ 2M`, `dpmpp-2m` and `sample_dpmpp_2m` are dpmpp_2m."""
    word = text.lower().replace("++", "pp").replace("-", "_").replace(" ", "_")
    return word.removeprefix("sample_").removeprefix("k_")


def data_options(option: str, word: str, members: dict[str, Any]) -> dict[str, str]:
    """The options that a path means as the value of `--data` or `--reference`; empty if it is none."""
    if "Folder" not in members or not ("/" in word or Path(word).suffix or Path(word).exists()):
        return {}
    if "ReferenceStats" in members and Path(word).suffix == ".npz":
        return {option: "ReferenceStats", f"{option}.path": word}
    return {option: "Folder", f"{option}.root": word}
