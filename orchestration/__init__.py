"""Wiring alone: definitions, jobs, schedules, the Dagster instance, and the commands behind `make run` and `make ui`."""
