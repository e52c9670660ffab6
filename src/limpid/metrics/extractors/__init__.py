"""Networks whose features scores are made of."""

__all__ = ["base", "cifar_classifier", "fid_presets", "inception", "inception_weights", "resize"]
