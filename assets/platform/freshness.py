"""Until when what a night makes counts as fresh; the UI shows in red what was not made since."""

from datetime import timedelta

import dagster as dg

NIGHTLY = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=30))
"""Six hours more than a day: nights take longer or shorter, and whoever comes to work sees that one is missing.

It is about when an asset was last made, and not about how old the data are: `source_health/crm` measures those.
"""
