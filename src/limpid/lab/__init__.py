"""`limpid lab`: a page in the browser, a second shell over `import limpid` beside the command."""

__all__ = [
    "app",
    "events",
    "guard",
    "jobs",
    "learn",
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
