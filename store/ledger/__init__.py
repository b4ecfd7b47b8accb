"""The ledger: what models wrote, and what was measured of them and decided about them, in schema ``ml``.

A module per kind of record, over `store.ledger.table`; `store.ledger.schema` lists the tables and opens the ledger.
"""
