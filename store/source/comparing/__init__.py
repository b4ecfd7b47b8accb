"""Comparing: what stored data an extraction would lose, found before anything is overwritten."""
