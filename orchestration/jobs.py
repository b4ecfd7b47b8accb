"""Jobs: the whole loop, and scoring alone."""

import dagster as dg

whole_loop = dg.define_asset_job(
    "whole_loop",
    selection=dg.AssetSelection.all(),
    description="Extract, build features, train, decide on promotion, score, and publish.",
)

_trained = dg.AssetSelection.groups("training_sets", "candidates", "champions")

score_leads = dg.define_asset_job(
    "score_leads",
    selection=dg.AssetSelection.all() - _trained,
    description="Extract, build features, score with the champions as they are, and publish. Trains nothing.",
)
