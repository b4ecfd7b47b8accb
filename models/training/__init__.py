"""Training sets, and how versions are trained on them."""
