"""Layers ``training_set``, ``candidate`` and ``champion``."""
