"""Comparing: what an extraction would lose of what is stored, before anything is overwritten."""
