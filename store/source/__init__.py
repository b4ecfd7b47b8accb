"""The source contract, and the extraction, which brings the records of a CRM into schema ``raw``."""
