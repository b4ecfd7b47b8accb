"""DuckDB: a file that only one process can open at a time."""
