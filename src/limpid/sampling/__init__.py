"""Sampling: load a model, draw images from seeds."""

__all__ = ["checkpoints", "edit_sheets", "figures", "labels", "pipeline", "sample", "samples", "training_data"]
