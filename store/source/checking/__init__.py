"""Checking: rows are typed, duplicates collapsed, and rows that do not fit are rejected with a reason."""
