"""What stands behind `make run` and `make ui`."""
