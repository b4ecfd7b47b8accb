"""Schedules: what runs by the clock."""

import dagster as dg

from orchestration.jobs import score_leads

nightly_scores = dg.ScheduleDefinition(
    name="nightly_scores",
    job=score_leads,
    cron_schedule="30 2 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "Every night at 02:30 UTC: scores the open leads, and checks the source and the drift of each model, on which "
        "retrain_sensor acts. While `make ui` (or a Dagster daemon) runs."
    ),
)
