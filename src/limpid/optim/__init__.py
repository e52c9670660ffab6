"""Optimisers, and exponential and power-function averages of the weights (EMA)."""

__all__ = ["ema", "muon", "optimizers"]
