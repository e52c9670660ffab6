"""The names of version 0.1: its checkpoints, run folders, recipe files and scores are read through these tables."""

from collections.abc import Callable
from typing import Any


def scale_from_weight(weight: Any) -> Any:
    """The guidance scale (1 is off) from the guidance weight of version 0.1 (0 is off); no number is left unchanged."""
    return weight + 1 if isinstance(weight, int | float) and not isinstance(weight, bool) else weight


KINDS = {
    "Adam": "AdamW",
    "Adaptive": "Dopri5",
    "ContinuousBeta": "VpSde",
    "Even": "UniformLevels",
    "Flat": "Unweighted",
    "LogRatio": "LogSigma",
    "LossMoment": "LossSecondMoment",
    "MinSnr": "MinSnrWeight",
    "Same": "TrainingSchedule",
    "ScaledLinear": "ScaledLinearBeta",
    "Shifted": "ShiftedSnr",
    "Snr": "SnrWeight",
    "Straight": "RectifiedFlow",
    "ZeroTerminal": "ZeroTerminalSnr",
}
"""Classes that recipes choose from: the old name and the new."""
OPTIMIZER = {"rate": "lr", "warmup": "warmup_images", "decay": "lr_schedule", "clip": "max_grad_norm"}
FIELDS: dict[str, dict[str, str]] = {
    "AdamW": OPTIMIZER,
    "CheckpointInfo": {
        "left_out": "skipped_batches",
        "names": "class_names",
        "place": "data_position",
        "seen": "images_seen",
        "shape": "image_shape",
    },
    "DiT": {"heads": "num_heads", "patch": "patch_size", "width": "hidden_size"},
    "Ema": {"half_life": "halflife", "ramp": "rampup_ratio"},
    "EvalProtocol": {"judge": "feature_extractor", "judge_sha256": "extractor_sha256"},
    "EvalReport": {"drawn": "provenance", "made": "environment", "subject": "name"},
    "EvalReport.provenance": {"evaluations": "NFE", "read": "source"},
    "EvalReport.scores": {"accuracy after training on them": "classification accuracy score"},
    "Every": {"scored": "score_images"},
    "Guidance": {"high": "sigma_hi", "low": "sigma_lo", "weight": "scale"},
    "LogLine": {"gradient": "grad_norm", "rate": "lr", "seen": "images_seen"},
    "Muon": OPTIMIZER,
    "Recipe": {
        "average": "ema",
        "batch": "batch_size",
        "condition": "noise_conditioning",
        "conditional": "class_conditional",
        "emphasis": "level_sampler",
        "images": "duration",
        "snapshots": "ema_snapshots",
        "uncertainty": "uncertainty_weighting",
        "weight": "loss_weighting",
    },
    "Sampling": {"clip": "clip_denoised", "guide": "guidance_model", "levels": "schedule"},
    "Score": {"floor": "held_out", "freedom": "dof"},
    "UNet": {
        "attention": "attn_resolutions",
        "blocks": "num_blocks",
        "head_width": "head_channels",
        "multipliers": "channel_mult",
        "patch": "patch_size",
        "width": "model_channels",
    },
}
"""Fields of each class (by its new name): the old name and the new."""
VALUES: dict[tuple[str, str], Callable[[Any], Any]] = {("Guidance", "weight"): scale_from_weight}
"""Conversions of fields whose value has changed its meaning, by class and old name."""
TENSORS = {"average.": "ema.", "embedding.parts.": "embedding.to_modulation."}
"""Parts of the names of tensors in checkpoints."""


def with_new_names(kind: str, plain: dict[str, Any]) -> dict[str, Any]:
    """The plain data of a class with its current field names and values."""
    names = FIELDS.get(kind, {})
    return {
        names.get(name, name): VALUES[kind, name](value) if (kind, name) in VALUES else value
        for name, value in plain.items()
    }


def with_new_kinds(plain: Any) -> Any:
    """Nested plain data that is not read as a class; each table that names its class gets its current names."""
    if isinstance(plain, list):
        return [with_new_kinds(part) for part in plain]
    if not isinstance(plain, dict):
        return plain
    table = {name: with_new_kinds(part) for name, part in plain.items()}
    if not isinstance(kind := table.get("kind"), str):
        return table
    return with_new_names(KINDS.get(kind, kind), table | {"kind": KINDS.get(kind, kind)})


def tensor_name(name: str) -> str:
    """The new name of a tensor of a checkpoint."""
    for old, new in TENSORS.items():
        if name.startswith(old) or f".{old}" in name:
            name = name.replace(old, new, 1)
    return name
