"""What a model declares: its feature view, label, task and policies."""
