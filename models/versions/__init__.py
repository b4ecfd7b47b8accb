"""A trained version as files, its card and its plots."""
