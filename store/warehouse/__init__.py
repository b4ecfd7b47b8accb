"""The database that the pipeline writes, behind one interface for all engines."""
