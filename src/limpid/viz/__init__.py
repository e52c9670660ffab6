"""Pictures out: sheets of pictures, animations, figures. Knows tensors of pixels and rows of numbers, nothing else."""

__all__ = ["animation", "class_sheets", "image_grid", "plot", "show", "text"]
