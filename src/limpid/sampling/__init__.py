"""Sampling: load a model, generate images from seeds, edit images, show both."""

__all__ = [
    "checkpoints",
    "edit",
    "edit_sheets",
    "evaluations",
    "figures",
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
