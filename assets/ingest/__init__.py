"""Layer ``crm``."""
