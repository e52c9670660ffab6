"""Sampling: load a model, generate images from seeds, edit images, and figures of these."""

__all__ = [
    "checkpoints",
    "edit",
    "edit_sheets",
    "evaluations",
    "figures",
    "first_step",
    "half_precision",
    "labels",
    "pipeline",
    "same_edits",
    "same_samples",
    "sample",
    "samples",
    "time_budget",
    "training_data",
]
