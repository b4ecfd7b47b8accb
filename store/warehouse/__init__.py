"""The database that the pipeline writes, with one interface for all engines."""
