"""The source contract: what a CRM must deliver, and how its records reach schema ``raw``."""
