"""PostgreSQL: a database that many sessions use at once."""
