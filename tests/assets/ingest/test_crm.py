"""Which source a warehouse goes on with."""

from __future__ import annotations

import dagster as dg
import pytest

from assets.ingest.crm import _refuse_other_source, lateness_table
from store.ledger.measurements import Lateness
from store.source.reading.sources import describe
from store.warehouse.warehouse import Warehouse

DATABASE = "postgresql://rep:secret@crm.example:5432/crm"


@pytest.fixture
def filled_from(tmp_path):
    def fill(source: str) -> Warehouse:
        warehouse = Warehouse(address=f"duckdb:{tmp_path / 'warehouse.duckdb'}")
        with warehouse.connect() as connection:
            connection.execute("create schema raw")
            connection.execute(
                "create table raw.extraction as select timestamptz '2026-01-01' as as_of, ? as source, 'contract' as "
                "mapping, '[]' as closing_outcomes, null::integer as silence_closes_after_days, '{}' as horizon_days, "
                "'[]' as assumptions",
                [source],
            )
        return warehouse

    return fill


def test_an_empty_warehouse_takes_any_source(tmp_path):
    _refuse_other_source(Warehouse(address=f"duckdb:{tmp_path / 'warehouse.duckdb'}"), DATABASE, moved=False)


def test_a_lost_warehouse_takes_the_source_that_its_home_was_filled_from_alone(tmp_path):
    lost = Warehouse(address=f"duckdb:{tmp_path / 'warehouse.duckdb'}")
    _refuse_other_source(lost, "/exports/acme", moved=False, filled_from="/exports/acme")
    with pytest.raises(dg.Failure, match=r"filled from, /exports/acme, found /exports/other\."):
        _refuse_other_source(lost, "/exports/other", moved=False, filled_from="/exports/acme")


@pytest.mark.parametrize("address", [DATABASE, "/exports/acme"])
def test_the_same_source_is_accepted_again(filled_from, address):
    _refuse_other_source(filled_from(describe(address)), address, moved=False)


def test_a_new_password_is_no_new_source(filled_from):
    _refuse_other_source(filled_from(describe(DATABASE)), DATABASE.replace("secret", "other"), moved=False)


def test_a_secret_that_was_stored_once_makes_no_other_source_and_is_not_shown(filled_from):
    stored = filled_from(f"{describe(DATABASE)}?password=open-sesame")
    _refuse_other_source(stored, DATABASE, moved=False)
    with pytest.raises(dg.Failure) as refused:
        _refuse_other_source(stored, "/exports/acme", moved=False)
    assert "password=***" in refused.value.description
    assert "open-sesame" not in refused.value.description


@pytest.mark.parametrize("other", ["postgresql://rep:secret@crm.example:5432/other", "/exports/acme"])
def test_another_source_is_refused_without_showing_a_password(filled_from, other):
    with pytest.raises(dg.Failure) as refused:
        _refuse_other_source(filled_from(describe(DATABASE)), other, moved=False)
    message = refused.value.description
    assert describe(other) in message
    assert "LEADLINE_HOME" in message
    assert "LEADLINE_ACCEPT_NEW_SOURCE=1" in message
    assert "secret" not in message


def test_the_simulated_crm_moves_with_its_home(filled_from):
    warehouse = filled_from("/old/home/simulated_crm/100_leads_18_months_seed_22")
    _refuse_other_source(warehouse, "/new/home/simulated_crm/100_leads_18_months_seed_22", moved=True)
    with pytest.raises(dg.Failure):
        _refuse_other_source(warehouse, "/new/home/simulated_crm/200_leads_18_months_seed_22", moved=True)


def test_lateness_is_shown_in_days_and_per_cent() -> None:
    figure = Lateness(
        measure="recording", table_name="interactions", type="call", rows=1000, median_days=0.5, p90_days=1.0,
        p99_days=1.5, max_days=2.0, share_over_1d=0.25, share_over_7d=0.0, share_over_30d=0.0,
    )  # fmt: skip
    (shown,) = lateness_table([figure]).records
    assert [*shown.data.values()] == [
        "recording", "call", "1,000", "0.50", "1.00", "1.50", "2.00", "25.0%", "0.0%", "0.0%"
    ]  # fmt: skip
