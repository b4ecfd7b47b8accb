"""What a claim of speed or quality is measured with: one module per question, run by ``python -m benchmarks``."""
