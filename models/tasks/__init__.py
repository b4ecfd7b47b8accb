"""Tasks: all that depends on the kind of target, an object for each kind."""
