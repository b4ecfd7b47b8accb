"""Reading: the tables of a folder or a database become relations of one scratch DuckDB."""
