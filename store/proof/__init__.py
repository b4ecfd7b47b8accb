"""The proof that features hold nothing of what came later."""
