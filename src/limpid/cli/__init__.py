"""What each verb of the command takes, and does with it."""

__all__ = [
    "bench",
    "compare",
    "edit",
    "evaluate",
    "foreign_kinds",
    "foreign_options",
    "inputs",
    "likelihood",
    "main",
    "option_list",
    "option_values",
    "parser",
    "posthoc_ema",
    "progress",
    "recipes",
    "sample",
    "show",
    "sweep",
    "train",
    "unknown_option",
]
