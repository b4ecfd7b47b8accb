"""The proof that features hold only facts known at their time."""
