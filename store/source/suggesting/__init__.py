"""Suggestions of a mapping: what a source is measured for, what follows from it, and the file that says so."""
