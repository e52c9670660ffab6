"""What makes networks quick on a CPU; nothing in here changes what is computed but for rounding."""
