"""Single values: texts, words, contact data, and the spellings of times."""
