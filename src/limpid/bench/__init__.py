"""What a recipe costs on this machine."""
