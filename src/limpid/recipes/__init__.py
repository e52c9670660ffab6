"""Recipes: what a run is made of, those that come with limpid by name, and how they are written to files."""

__all__ = ["changes", "cifar10", "demo", "own_classes", "recipe", "registry", "schema", "serialize"]
