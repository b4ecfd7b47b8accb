"""Publications: the marts that readers get, and the guard against losing published rows."""
