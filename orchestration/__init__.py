"""Wiring alone: definitions, jobs, schedules, the instance, and the commands behind `make run` and `make ui`."""
