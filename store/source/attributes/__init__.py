"""Attributes of a source: their kinds, which columns are fit, and from when on their values count as known."""
