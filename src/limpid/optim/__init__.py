"""Optimizers, and EMAs of the weights: exponential ones and power-function ones."""

__all__ = ["ema", "muon", "optimizers"]
