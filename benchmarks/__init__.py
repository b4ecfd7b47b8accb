"""Benchmarks that measure claims of speed and quality: one module per question, run by ``python -m benchmarks``."""
