"""Training: the step and its loop, the run around it, its folder, its log, and what is checked before and meanwhile."""

__all__ = ["anomalies", "loop", "meter", "optimizer_state", "preflight", "progress", "run", "run_folder", "step_times"]
