"""The census of past clocks is what a question for the same leads and times answers, in a real warehouse."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from models.declared.registry import DECLARATIONS
from store.features.certificates import CompiledSql
from store.features.compiled import microseconds
from store.features.features_at import answer
from store.features.training_rows import census
from store.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from tests.homes import Home

KEY = ["lead_id", "as_of"]

PRICED = """
    select history.lead_id, clocks.as_of_us, history.property_value as known_value
    from intermediate.lead_history as history
    inner join (select unnest($1) as as_of_us) as clocks
        on history.known_us < clocks.as_of_us
        and (history.until_us is null or history.until_us >= clocks.as_of_us)
    where history.property_value is not null and history.lead_id not in (
        select lead_id from intermediate.timeline where fact = 'project_proposed'
    )
"""


@pytest.mark.parametrize(("model", "days"), [("conversion", 30), ("deal_value", 90), ("next_best_action", 7)])
def test_it_is_what_is_answered_of_the_same_leads_and_times(own: Home, model: str, days: int) -> None:
    declared = DECLARATIONS[model].with_horizon(days)
    warehouse = Warehouse(address=f"duckdb:{own.warehouse}")
    as_of = warehouse.extraction().as_of
    build = CompiledSql(root=str(own.path / "compiled")).build(as_of)
    last = pd.Timestamp(as_of - timedelta(days=days)).floor("D")
    clocks = [last - pd.Timedelta(days=200), last - pd.Timedelta(days=33), last]
    tables = own.contents("features", "labels", "intermediate")

    found = census(warehouse, build, declared, clocks)

    assert sorted(found["as_of"].unique()) == clocks
    assert not found.duplicated(KEY).any()
    with warehouse.connect() as connection:
        leads = connection.execute("select lead_id from staging.stg_leads").df()
        question = leads.merge(pd.DataFrame({"as_of": clocks}), how="cross")
        with connection.scratch("asked") as beside:
            answered = answer(connection, beside, build, declared.feature_view, question, [declared.label])
        priced = connection.execute(PRICED, [list(map(microseconds, found["as_of"].drop_duplicates()))]).df()
    still_open = answered[answered["entity_state"] == "open"].sort_values(KEY, ignore_index=True)
    if declared.scope:
        # the one model that has one is about wins alone
        in_scope = (still_open["open_proposals_count"] > 0) & still_open[declared.label_column].notna()
        still_open = still_open[in_scope].reset_index(drop=True)
    assert 0 < len(still_open) < len(answered)
    columns = [name for name in found.columns if name not in ("observation_kind", "value")]
    assert declared.label_column in columns
    assert found[declared.label_column].notna().all(), "every outcome is known"
    assert_frame_equal(found[columns], still_open[columns], check_dtype=False)
    # where nothing was ever proposed, a lead is worth its property as it was known then
    both = found.assign(as_of_us=found["as_of"].map(microseconds)).merge(priced, on=["lead_id", "as_of_us"])
    assert len(both) > 20 or declared.scope
    assert both["value"].astype(float).tolist() == both["known_value"].astype(float).tolist()
    assert own.contents("features", "labels", "intermediate") == tables, "nothing of it stays"
