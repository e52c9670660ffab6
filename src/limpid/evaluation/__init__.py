"""Evaluation of images and models: metrics, references, protocols, reports and their comparison."""

__all__ = [
    "api",
    "classifier",
    "compare",
    "evaluate",
    "generalization_gap",
    "generated",
    "image_sources",
    "likelihood",
    "memorization",
    "model",
    "model_metrics",
    "online",
    "reference",
    "reference_set",
    "report",
    "report_file",
    "scores",
    "sweep",
]
