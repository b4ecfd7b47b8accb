"""What is kept and how it is read, without Dagster."""
