"""The ledger in schema ``ml``: versions and trainings, predictions, measurements, decisions and champions.

A module per kind of record, over `store.ledger.table`; `store.ledger.schema` lists the tables and opens the ledger.
"""
