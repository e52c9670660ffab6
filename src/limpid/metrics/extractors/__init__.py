"""Feature networks, from whose outputs scores are computed."""

__all__ = ["base", "cifar_classifier", "fid_presets", "inception", "inception_weights", "resize"]
