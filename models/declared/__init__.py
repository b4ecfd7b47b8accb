"""The models that ship, and their registry."""
