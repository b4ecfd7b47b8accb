"""Drift as it is measured in a warehouse: planted changes are found, and a quiet world is quiet."""

from __future__ import annotations

import html
import re
import warnings
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from assets.monitoring.drift import drift_asset
from assets.platform.resources import Clock
from models.artifacts import MANIFEST, sha256
from models.decisions.drift import DriftEvidence, Verdict, judge
from models.training.training import train
from models.training.training_set import freeze
from store.artifacts import ArtifactStore
from store.ledger.champions import promote
from store.ledger.measurements import record_drift
from store.ledger.schema import ensure
from store.measuring.drift import measure_drift, reference
from store.measuring.drift_report import write_report
from store.warehouse.warehouse import Warehouse
from tests.drifting import DECLARED, HORIZON, TRAINED_AT, TRAINED_DAY, fill, world

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from models.declaring.columns import Kind
    from models.versions.candidate import Candidate


def look(connection: DuckDBPyConnection, champion: Candidate, day: int) -> tuple[DriftEvidence, dict[str, Verdict]]:
    evidence = measure_drift(
        connection, DECLARED, champion,
        clock=TRAINED_AT + timedelta(days=day), reference=reference(DECLARED, champion),
    )  # fmt: skip
    return evidence, {each.check: each for each in judge(evidence, DECLARED.drift, max_age_days=180)}


def failed(verdicts: dict[str, Verdict]) -> set[str]:
    return {name for name, each in verdicts.items() if each.failed}


def test_a_quiet_world_is_quiet_from_the_first_day_on(connection: DuckDBPyConnection, champion: Candidate) -> None:
    fill(connection, world())
    for day in (0, 1, 20, 45, 110):
        _, verdicts = look(connection, champion, day)
        assert failed(verdicts) == set(), day
    assert verdicts["performance"].value is not None


def test_on_the_day_of_the_training_both_windows_are_the_same(
    connection: DuckDBPyConnection, champion: Candidate
) -> None:
    fill(connection, world())
    evidence, verdicts = look(connection, champion, 0)
    assert evidence.rows_reference == evidence.rows_current == 30 * 60
    assert {each.psi for each in (*evidence.features, *evidence.predictions)} == {0}
    assert "share 30 days" in verdicts["features"].statement
    assert "Not enough evidence" in verdicts["performance"].statement


@pytest.mark.parametrize(("change", "subject"), [("values", "property_value"), ("channels", "lead_source")])
def test_a_shift_of_one_column_is_found_and_named(
    connection: DuckDBPyConnection, champion: Candidate, change: str, subject: str
) -> None:
    fill(connection, world(**{change: TRAINED_DAY + 10}))
    assert failed(look(connection, champion, 10)[1]) == set()
    _, verdicts = look(connection, champion, 40)
    assert failed(verdicts) == {"features"}
    assert verdicts["features"].subject == subject


def test_a_change_of_what_converts_is_found_on_matured_labels_alone(
    connection: DuckDBPyConnection, champion: Candidate
) -> None:
    fill(connection, world(concept=TRAINED_DAY))
    evidence, verdicts = look(connection, champion, 60)
    assert failed(verdicts) == {"performance"}
    # as_of from the training on, matured by the clock, of the days of one window
    assert evidence.performance.rows == 30 * 60
    few, _ = look(connection, champion, HORIZON + 3)
    assert few.performance.rows == 4 * 60


def test_what_has_not_matured_by_the_clock_is_not_looked_at(
    connection: DuckDBPyConnection, champion: Candidate
) -> None:
    fill(connection, world(concept=TRAINED_DAY))
    evidence, _ = look(connection, champion, 35)
    connection.execute("update labels.conversion set converted = 1 - converted where matures_at > ?", [evidence.as_of])
    connection.execute("update features.lead_features set calls_count_7d = 99 where as_of > ?", [evidence.as_of])
    assert look(connection, champion, 35)[0] == evidence


def test_labels_over_another_horizon_say_nothing_of_the_champion(
    connection: DuckDBPyConnection, champion: Candidate
) -> None:
    fill(connection, world())
    connection.execute("update labels.conversion set matures_at = matures_at + interval 1 day")
    evidence, _ = look(connection, champion, 60)
    assert (evidence.performance.rows, evidence.new_labels) == (0, 0)


def test_the_census_at_the_clock_is_left_out(connection: DuckDBPyConnection, champion: Candidate) -> None:
    fill(connection, world())
    evidence, _ = look(connection, champion, 40)
    connection.execute(
        "insert into features.lead_features by name select * replace ('clock' as observation_kind, "
        "as_of + interval 1 hour as as_of, 1e9 as property_value) from features.lead_features"
    )
    assert look(connection, champion, 40)[0] == evidence


def test_a_measurement_is_recorded_once(connection: DuckDBPyConnection, champion: Candidate) -> None:
    fill(connection, world(values=TRAINED_DAY))

    def record(day: int, run: str) -> None:
        evidence, verdicts = look(connection, champion, day)
        record_drift(connection, run, evidence, verdicts.values(), TRAINED_AT)

    def logged() -> list[tuple[Any, ...]]:
        return connection.execute("select * exclude (run_id) from ml.ml_drift_logs order by all").fetchall()

    record(40, "first")
    once = logged()
    record(40, "second")
    assert logged() == once
    record(41, "third")
    assert len(logged()) == 2 * len(once)
    assert connection.execute(
        "select check_name, feature, statistic from ml.ml_drift_logs "
        "where failed and run_id = 'first' and as_of = (select min(as_of) from ml.ml_drift_logs)"
    ).fetchall() == [("features", "property_value", "psi")]
    checks = connection.execute("select distinct check_name from ml.ml_drift_logs order by 1").fetchall()
    assert checks == [("champion_age",), ("features",), ("performance",), ("predictions",)]


def test_the_report_is_one_page_that_needs_no_network(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    sides = [
        pd.DataFrame(
            {
                "property_value": rng.normal(shift, 1, 300),
                # a word that one side alone has, of which a chi-square test cannot be made
                "lead_source": rng.choice(["web", "ads", "fair", *["news"] * shift], 300).astype(object),
                "never_filled": np.full(300, np.nan),
            }
        )
        for shift in (0, 2)
    ]
    kinds: dict[str, Kind] = {"property_value": "number", "lead_source": "text", "never_filled": "number"}
    path = tmp_path / "reports" / "2026-02-01.html"
    path.parent.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        assert write_report(*sides, kinds, path, title="", top="")
    text = path.read_text(encoding="utf-8")
    assert "property_value" in text
    assert "never_filled" not in text
    assert '<script src="http' not in text
    assert list(path.parent.iterdir()) == [path]
    nothing = tmp_path / "nothing.html"
    assert not write_report(*sides, {"never_filled": "number"}, nothing, title="", top="")
    assert not nothing.exists()


ROWS = 1_500
"""Beyond 1,000 rows Evidently compares by other measures than below, so both are tried."""


def columns_of_every_type() -> dict[str, tuple[Any, Any]]:
    """Return columns of every type and in every state that a feature can be in, each before and now."""
    rng = np.random.default_rng(4)

    def chosen(*values: Any) -> tuple[Any, Any]:
        listed = np.array(values, dtype=object)
        return rng.choice(listed, ROWS), rng.choice(listed[1:], ROWS)

    def all_of(value: Any) -> Any:
        return pd.Series([value] * ROWS)

    numbers = rng.normal(0, 1, ROWS), rng.normal(1, 1, ROWS)
    flags, some_flags, counts = chosen(True, False), chosen(None, True, False), chosen(None, 1, 2, 3)
    columns = {
        "number": numbers,
        "boolean": (flags[0].astype(bool), ~flags[0].astype(bool)),
        "boolean_nullable": tuple(pd.array(side, dtype="boolean") for side in some_flags),
        "boolean_object": some_flags,
        "boolean_before_nullable_now": (flags[0].astype(bool), some_flags[0]),
        "decimal": chosen(None, Decimal("1.50"), Decimal("2.25"), Decimal("-3.00")),
        "integer": (rng.poisson(2, ROWS), rng.poisson(3, ROWS)),
        "integer_nullable": tuple(pd.array(side, dtype="Int64") for side in counts),
        "float32": tuple(side.astype("float32") for side in numbers),
        "text": chosen("web", "ads", None, ""),
        "text_of_pandas": tuple(pd.array(side, dtype="string") for side in chosen(None, "web", "ads")),
        "text_of_many_values": tuple(np.array([f"{side}{row}" for row in range(ROWS)], object) for side in "xy"),
        "null": (all_of(None), all_of(None)),
        "null_before": (all_of(None), numbers[1]),
        "null_now": (numbers[0], all_of(np.nan)),
        "null_text_now": (chosen("web", "ads")[0], all_of(None)),
        "one_value_alone": (np.where(np.arange(ROWS) == 0, 1.0, np.nan), numbers[1]),
        "constant": (all_of(2), all_of(2)),
        "constant_and_another": (all_of(2), all_of(3)),
        "constant_and_then_not": (all_of(2.0), numbers[1]),
        "constant_boolean": (all_of(True), all_of(False)),
        "constant_text": (all_of("web"), all_of("ads")),
        "infinite_sometimes": (numbers[0], np.where(numbers[1] > 1, np.inf, numbers[1])),
        "infinite_now": (numbers[0], all_of(-np.inf)),
        "infinite": (all_of(np.inf), all_of(np.inf)),
        "large_constant": (all_of(1e17), all_of(1e17)),
        "large_and_close": (np.where(numbers[0] > 0, 1e17, 1e17 + 16), all_of(1e17)),
        "largest": tuple(np.where(side > 0, 1e308, -1e308) for side in numbers),
        "smallest": tuple(side * 1e-308 for side in numbers),
    }
    # a name that is in no page by itself
    return {f"feature_{name}": sides for name, sides in columns.items()}


UNDRAWN = {f"feature_{name}" for name in ("null", "null_before", "null_now", "null_text_now")}


def test_the_report_draws_columns_of_every_type(tmp_path: Path) -> None:
    columns = columns_of_every_type()
    sides = [pd.DataFrame({name: column[side] for name, column in columns.items()}) for side in (0, 1)]
    kinds: dict[str, Kind] = {name: "text" if "text" in name else "number" for name in columns}
    one_row = [side.bfill().iloc[:1] for side in sides]
    for name, (before, now) in {
        "many": sides,
        "few": (sides[0], sides[1].iloc[:200]),
        "one": one_row,
        "one_and_many": (one_row[0], sides[1]),
    }.items():
        path = tmp_path / f"{name}.html"
        assert write_report(before, now, kinds, path, title="", top=""), name
        text = path.read_text(encoding="utf-8")
        assert {column for column in columns if f'"{column}"' not in text} == UNDRAWN, name


ADDED = {
    "is_weekend": "isodow(as_of) > 5 or is_new",
    "is_known": "case when calls_count_7d > 1 then is_new end",
    "price": "cast(property_value + case when is_new then 1 else 0 end as decimal(9, 2))",
    "visits": "case when calls_count_7d > 1 then calls_count_7d + cast(is_new as integer) end",
    "no_longer": "case when not is_new then 1.5 end",
    "one_and_another": "cast(is_new as tinyint)",
    "remark": "lead_id || is_new",
}
"""Features of the types that a view may have, all of which move when the model has been trained."""


def test_features_of_every_type_go_through_the_asset(tmp_path: Path) -> None:
    clock = TRAINED_AT + timedelta(days=40)
    warehouse = Warehouse(address=f"duckdb:{tmp_path / 'warehouse.duckdb'}")
    artifacts = ArtifactStore(root=str(tmp_path / "artifacts"), reports_address="")
    with warehouse.connect() as connection:
        ensure(connection)
        fill(connection, world())
        added = ", ".join(f"{expression} as {name}" for name, expression in ADDED.items())
        connection.execute(
            f"create or replace table features.lead_features as select * exclude (is_new), {added} from "
            "(select *, as_of > ? as is_new from features.lead_features)",
            [TRAINED_AT],
        )
        rows = connection.execute(
            "select * exclude (matures_at) from features.lead_features inner join labels.conversion "
            "using (lead_id, as_of) where matures_at <= ? order by lead_id, as_of",
            [TRAINED_AT],
        ).df()
        frozen = freeze(rows, DECLARED, tmp_path / "sets", pd.Timestamp(TRAINED_AT))
        champion = train(DECLARED, frozen, artifacts.versions("conversion"))
        promote(connection, champion, sha256(champion.directory / MANIFEST), TRAINED_AT)
        connection.execute(
            "create schema raw; create table raw.extraction as select cast(? as timestamptz) as as_of, '' as source, "
            "'' as mapping, '[]' as closing_outcomes, null as silence_closes_after_days, '{}' as horizon_days, "
            "'[]' as assumptions",
            [clock],
        )
        connection.execute("create table features.feature_clock as select as_of from raw.extraction")
        evidence, verdicts = look(connection, champion, 40)
    assert verdicts["features"].failed

    def measured() -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [drift_asset(DECLARED)],
            resources={"warehouse": warehouse, "artifacts": artifacts, "clock": Clock()},
        )

    run = measured()

    judged = {
        each.check_name: (each.passed, each.metadata["statement"].value) for each in run.get_asset_check_evaluations()
    }
    assert judged == {name: (not each.failed, each.statement) for name, each in verdicts.items()}
    with warehouse.connect() as connection:
        logged = connection.execute(
            "select feature, value from ml.ml_drift_logs where check_name = 'features' and statistic = 'psi'"
        ).fetchall()
    assert dict(logged) == {each.column: each.psi for each in evidence.features}
    (report,) = artifacts.reports("conversion").glob("*.html")
    text = report.read_text(encoding="utf-8")
    assert {name for name in ADDED if f'"{name}"' not in text} == {"no_longer"}

    # a person sees first what was decided, and about what
    assert f"<title>Drift of conversion, {clock:%Y-%m-%d}</title>" in text[text.index("<head>") : text.index("</head>")]
    top, _, below = text[text.index("<body>") :].partition("A sample of both windows, drawn by Evidently")
    assert "drawDashboard" in below
    assert "<h1>Drift of conversion</h1>" in top
    for said in (
        champion.version,
        "2026-04-01 00:00 UTC to 2026-05-01 00:00 UTC, when the version was trained: 1,800 observations of 960 leads",
        "2026-05-11 00:00 UTC to 2026-06-10 00:00 UTC, the clock: 1,800 observations of 960 leads",
        *(html.escape(each.statement) for each in verdicts.values()),
    ):
        assert said in top, said
    outcomes = re.findall(r'<th scope="row">(\w+)</th><td>(failed|passed)</td>', top)
    assert outcomes == [(name, "failed" if each.failed else "passed") for name, each in verdicts.items()]

    # what says the same stays as it is, and what says something else is written anew
    written = report.stat().st_mtime_ns
    measured()
    assert report.stat().st_mtime_ns == written
    report.write_text(text.replace("<h1>Drift of conversion</h1>", ""), encoding="utf-8")
    measured()
    assert top in report.read_text(encoding="utf-8")
