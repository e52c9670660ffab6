"""Image grids, animations and plots, from tensors of pixels and sequences of numbers."""

__all__ = ["animation", "class_sheets", "image_grid", "plot", "show", "text"]
