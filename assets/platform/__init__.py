"""What all assets share: resources, dbt, the event log, values between steps."""
