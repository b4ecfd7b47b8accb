"""Reading: the tables of a folder or a database, as relations of one scratch DuckDB."""
