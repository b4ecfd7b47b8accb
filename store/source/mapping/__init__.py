"""Source mappings: how another CRM's tables and columns become those of the contract."""
