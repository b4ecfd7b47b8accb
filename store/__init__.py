"""Settings, home, warehouse, source, feature store, ledger and publication, without Dagster."""
