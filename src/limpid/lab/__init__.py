"""`limpid lab`: a page in the browser, a second shell over `import limpid` beside the command."""

__all__ = [
    "app",
    "events",
    "guard",
    "jobs",
    "models",
    "noise",
    "queries",
    "sample",
    "sample_job",
    "server",
    "worker",
    "workspace",
]
