"""The freshness policy of assets that every night makes: the UI shows an asset in red if a night did not make it."""

from datetime import timedelta

import dagster as dg

NIGHTLY = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=30))
"""A day and six hours: the length of nights varies, and a missing night must show in the morning.

The policy is about the time of the last materialization. `source_health/crm` measures the age of the data.
"""
