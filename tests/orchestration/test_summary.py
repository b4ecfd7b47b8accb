"""What the summary says of a home, where no other test runs into it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb
import pytest

from models.versions.candidate import PIPELINE
from orchestration.commands.summary import _source, overridden, summarize
from store.settings import settings
from store.warehouse.warehouse import Extraction

if TYPE_CHECKING:
    from tests.homes import Home

EXTRACTION = Extraction(
    as_of=datetime(2026, 1, 1, tzinfo=UTC), load_number=1, source="crm", mapping="mine", closing={},
    silence_closes_after_days=None, horizon_days={"conversion": 30}, assumptions=[],
)  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"LEADLINE_CONVERSION_HORIZON_DAYS": "90"},
         ["note       HORIZON=90 replaces the horizon of 30 days that mapping mine has for conversion."]),
        ({"LEADLINE_CONVERSION_HORIZON_DAYS": "30"}, []),
        ({}, []),
    ],
)  # fmt: skip
def test_a_setting_that_replaces_the_mappings_horizon_is_said(setting: dict[str, str], said: list[str]) -> None:
    """A mapping's entry that has no effect is never silent."""
    assert overridden(settings(setting), EXTRACTION) == said
    assert overridden(settings(setting), replace(EXTRACTION, horizon_days={})) == []


DELIVERED = "the last days of the source deliver what its earlier ones did; not enough evidence of data_age, volume"
UNKNOWN = "not enough evidence to tell whether the source delivers what it delivered before"


@pytest.mark.parametrize(
    ("checks", "first", "said"),
    [
        (("nulls", "categories"), True, f"first extraction: {DELIVERED}"),
        (
            ("nulls", "categories"),
            False,
            "the source delivers what it delivered before; not enough evidence of data_age, volume",
        ),
        ((), True, f"{UNKNOWN}; this is its first extraction"),
        ((), False, UNKNOWN),
    ],
)
def test_a_first_extraction_has_no_before(checks: tuple[str, ...], first: bool, said: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("create schema ml")
        connection.execute("create schema raw")
        connection.execute("create table raw.extraction as select 1 as as_of")
        connection.execute(
            "create table ml.ml_source_health as select unnest($1::text[]) as check_name, 'leads' as subject, "
            "0.0 as value, 0.5 as threshold, false as failed, 1 as as_of",
            [[*checks, "looked_at"]],
        )
        assert _source(connection, first=first) == f"health     {said}"


def test_a_champion_that_does_not_load_any_more_is_named_once(own: Home) -> None:
    ((version,),) = own.ask("select version from ml.ml_champions where model = 'next_best_action'")
    with next((own.path / "artifacts/models/next_best_action").glob(f"*/{PIPELINE}")).open("ab") as file:
        file.write(b"more")
    said = summarize(settings(own.environment()))
    assert f"the champion {version} does not load any more: `make run` trains anew" in said
    assert said.count("does not load") == 1


def test_features_that_a_person_confirmed_are_named(own: Home) -> None:
    evidence = json.dumps({"suspected": [{"feature": "zip_prefix"}, {"feature": "age"}], "confirmed": ["zip_prefix"]})
    with duckdb.connect(str(own.warehouse)) as connection:
        connection.execute(
            "update ml.ml_decisions set evidence = $1 where kind = 'promotion' and model = 'conversion'", [evidence]
        )
    said = summarize(settings(own.environment()))
    assert said.count("suspected of hindsight, and confirmed by a person: zip_prefix\n") == 1


def test_what_a_person_accepted_of_an_extraction_is_said(own: Home) -> None:
    with duckdb.connect(str(own.warehouse)) as connection:
        connection.execute("update raw.extraction set accepted = $1", [json.dumps(["all is lost"])])
    assert "\naccepted   all is lost\n" in summarize(settings(own.environment()))
