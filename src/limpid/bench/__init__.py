"""What a recipe costs on this machine."""

__all__ = ["costs", "timing"]
