"""A home that the code of commit 2684a4b has filled, on DuckDB, and schema ``ml`` of one on PostgreSQL; see `make`."""
