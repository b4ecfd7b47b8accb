"""Layers ``scores`` and ``marts``, and what is published."""
