"""Single values: texts, words, contact data, and formats of times."""
