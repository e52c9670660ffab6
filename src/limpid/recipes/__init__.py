"""Recipes: the configuration of a run, the named recipes, and their files."""

__all__ = ["changes", "cifar10", "demo", "own_classes", "recipe", "registry", "schema", "serialize"]
