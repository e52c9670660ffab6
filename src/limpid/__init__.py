"""limpid: diffusion models from scratch on small images."""

__version__ = "0.1.0"
