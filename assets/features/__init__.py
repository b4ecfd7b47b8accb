"""Layers ``features`` and ``labels``, and their proof."""
