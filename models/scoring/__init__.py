"""The predictions of a version for open entities, with reasons."""
