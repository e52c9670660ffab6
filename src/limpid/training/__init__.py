"""Training: the step and its loop, the run around it, its folder, its log, and what is checked before and meanwhile."""
