"""Measurements of source, features, drift and outcomes."""
