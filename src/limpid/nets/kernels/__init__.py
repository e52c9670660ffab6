"""CPU kernels: the same functions as the library's up to rounding, faster."""
