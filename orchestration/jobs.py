"""Jobs: the whole loop, scoring and checking alone, and the retraining of one model."""

import dagster as dg

from assets import feature_history
from assets.retrain_decisions import retrain_job_name
from models.registry import DECLARATIONS

_by_day = dg.AssetSelection.assets(feature_history.KEY)

whole_loop = dg.define_asset_job(
    "whole_loop",
    selection=dg.AssetSelection.all() - _by_day,
    description="Extract, build features, train, decide on promotion, score, publish, and measure source and drift.",
)

_trained = dg.AssetSelection.groups("training_sets", "candidates", "champions")

score_leads = dg.define_asset_job(
    "score_leads",
    selection=dg.AssetSelection.all() - _trained - _by_day,
    description=(
        "Extract, build features, score with the champions as they are, publish, and check: the health of the source, "
        "the drift of each model, and whether it should be trained anew. Trains nothing itself."
    ),
)

recompute_days = dg.define_asset_job(
    "recompute_days",
    selection=_by_day,
    description="Compute the features of a range of observation days anew. Pick the range as partitions.",
)

_retrained = ("training_set", "candidate", "champion", "scores", "drift", "retrain_decision")

retrain_jobs = [
    dg.define_asset_job(
        retrain_job_name(model),
        selection=dg.AssetSelection.assets(*([layer, model] for layer in _retrained))
        | dg.AssetSelection.groups("marts"),
        # it measures the champion that comes of it, so that the check which asked for it does not stay red until night
        description=(
            f"Train {model} anew on the features of the last build, decide on promotion, score, publish, and measure "
            "again. retrain_sensor starts it."
        ),
    )
    for model in DECLARATIONS
]
