"""Checking: rows typed, duplicates collapsed, and what does not fit set aside with its reason."""
