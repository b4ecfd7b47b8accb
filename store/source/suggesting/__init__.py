"""Suggestions: what a source is measured for, which columns are fit as attributes, and the mapping that follows."""
