"""Metrics of generated images against real ones: pure functions of features, and the networks that extract them."""
