"""Metrics of generated images against real ones: pure functions of features, and the networks that extract them."""

__all__ = [
    "accuracy",
    "chunks",
    "copies",
    "estimate",
    "extractors",
    "frechet",
    "inception_score",
    "kid",
    "moments",
    "neighbours",
    "prdc",
    "sliced",
    "stats_file",
]
