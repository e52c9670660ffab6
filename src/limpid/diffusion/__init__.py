"""The mathematics: pure functions on tensors."""

__all__ = [
    "continuous_schedules",
    "denoiser",
    "discrete_schedules",
    "editing",
    "guidance",
    "learned_variance",
    "level",
    "level_sampling",
    "likelihood",
    "losses",
    "oracle",
    "samplers",
    "schedule_html",
    "schedules",
    "targets",
    "weightings",
]
