"""Layers: deterministic archives, and what is in those of an environment and of a package."""
