"""Loading: what schema ``raw`` holds, what is new, and how it gets there."""
