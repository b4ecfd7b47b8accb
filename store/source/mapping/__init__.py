"""Source mappings: they translate the tables and columns of a CRM to those of the contract."""
