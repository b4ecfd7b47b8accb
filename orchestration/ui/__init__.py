"""The UI behind its guard, and the reports beside it."""
