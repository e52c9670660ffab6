"""Scores of generated images, and of a model: against which reference, by which protocol, in which report."""
