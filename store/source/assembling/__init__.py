"""Assembling: a contract table is put together from source tables, by joins, unions, conditions or a query."""
