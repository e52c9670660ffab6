"""What version 0.1 called things: its checkpoints, run folders, recipe files and scores are read by these tables."""

from typing import Any

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
"""Members of unions: the name then, and the name now."""
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
    "DiT": {"heads": "num_heads", "width": "hidden_size"},
    "Ema": {"half_life": "halflife", "ramp": "rampup_ratio"},
    "EvalProtocol": {"judge": "feature_extractor", "judge_sha256": "extractor_sha256"},
    "EvalReport": {"drawn": "provenance", "made": "environment", "subject": "name"},
    "Every": {"scored": "score_images"},
    "Guidance": {"high": "sigma_hi", "low": "sigma_lo"},
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
"""Fields of each class (by its name now): the name then, and the name now."""
TENSORS = {"average.": "ema.", "embedding.parts.": "embedding.to_modulation."}
"""Parts of the names of tensors in checkpoints."""


def with_new_names(kind: str, plain: dict[str, Any]) -> dict[str, Any]:
    """The plain data of a class, its fields by the names that they have now."""
    names = FIELDS.get(kind, {})
    return {names.get(name, name): value for name, value in plain.items()}


def tensor_name(name: str) -> str:
    """The name that a tensor of a checkpoint has now."""
    for then, now in TENSORS.items():
        if name.startswith(then) or f".{then}" in name:
            name = name.replace(then, now, 1)
    return name
