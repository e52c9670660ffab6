"""`limpid lab`: a page in the browser, a second shell over `import limpid` beside the command."""

__all__ = [
    "app",
    "compare",
    "edit",
    "edit_job",
    "events",
    "guard",
    "jobs",
    "learn",
    "model_data",
    "models",
    "noise",
    "queries",
    "runs",
    "sample",
    "sample_job",
    "server",
    "training",
    "watch",
    "worker",
    "workspace",
]
