"""The jobs (the whole loop; scoring without training; the retraining of a model) and the nightly schedule."""

from typing import Any

import dagster as dg

from assets.monitoring.retrain_decisions import retrain_job_name
from assets.platform import keys
from assets.platform.event_log import MAX_RETRIES_TAG, RETRY_STRATEGY_TAG
from models.declared.registry import DECLARATIONS

STARTED_AGAIN = {MAX_RETRIES_TAG: "1", RETRY_STRATEGY_TAG: "ALL_STEPS"}
"""Tags of jobs whose run is started again, once, where its process was killed.

All steps run again, for a decision belongs to the checks of its own run; every write is keyed, so what was done already
changes nothing. A training that was killed is started again by `retrain_sensor`.
"""

whole_loop = dg.define_asset_job(
    "whole_loop",
    selection=dg.AssetSelection.all(),
    tags=STARTED_AGAIN,
    description="Extract, build features, train, decide on promotion, score, publish, and measure source and drift.",
)

score_leads = dg.define_asset_job(
    "score_leads",
    selection=dg.AssetSelection.all() - dg.AssetSelection.groups("training_sets", "candidates", "champions"),
    tags=STARTED_AGAIN,
    description=(
        "Extract, build features, score with the present champions, publish, and check the health of the source, "
        "the drift of each model, and whether it should be trained anew. The job trains nothing itself."
    ),
)

_RETRAINED_LAYERS = (
    keys.training_set, keys.candidate, keys.champion, keys.scores, keys.drift, keys.retrain_decision,
)  # fmt: skip


def _retrain_job(model: str) -> Any:
    """Return the job that trains a model anew.

    The job measures the drift again, so that the check which requested the job does not stay red until night.
    """
    return dg.define_asset_job(
        retrain_job_name(model),
        selection=dg.AssetSelection.assets(*(key(model) for key in _RETRAINED_LAYERS))
        | (dg.AssetSelection.assets(keys.scores(model)).downstream() & dg.AssetSelection.groups("marts")),
        description=(
            f"Train {model} anew on the features of the last build, decide on promotion, score, publish, and measure "
            "again. retrain_sensor starts it."
        ),
    )


RETRAIN_JOBS = {model: _retrain_job(model) for model in DECLARATIONS}

JOBS = {each.name: each for each in (whole_loop, score_leads, *RETRAIN_JOBS.values())}
"""The jobs that run without a configuration."""

nightly_scores = dg.ScheduleDefinition(
    name="nightly_scores",
    job=score_leads,
    cron_schedule="30 2 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "Every night at 02:30 UTC, while `make ui` (or a Dagster daemon) runs: scores open entities, and checks the "
        "source and the drift of each model. retrain_sensor acts on the result."
    ),
)
