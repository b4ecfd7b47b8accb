"""DuckDB: a file that one process holds at a time."""
