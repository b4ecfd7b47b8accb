"""Pure functions from evidence to a decision with a reason."""
