"""PostgreSQL: a database that many use at once."""
