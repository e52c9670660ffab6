"""Sampling: load a model, draw images from seeds."""
