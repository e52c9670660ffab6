"""Pictures out: sheets of pictures, animations, figures. Knows tensors of pixels and rows of numbers, nothing else."""
