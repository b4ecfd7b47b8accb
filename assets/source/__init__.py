"""The source contract: what a CRM must deliver, and how its records reach the warehouse.

Everything between a CRM and the schema ``raw`` belongs here: the contract, the mapping of another CRM's names onto it,
the readers, the validation, the load. Nothing here knows Dagster.
"""
