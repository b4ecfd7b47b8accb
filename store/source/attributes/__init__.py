"""Attributes of a source that is read: which ones a table has, and from when on their values count as known."""
