"""Scores of generated images, and of a model: against which reference, by which protocol, in which report."""

__all__ = [
    "baselines",
    "classifier",
    "evaluate",
    "generalization_gap",
    "generated",
    "likelihood",
    "memorization",
    "model_metrics",
    "online",
    "reference",
    "report",
    "tables",
]
