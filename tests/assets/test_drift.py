"""Drift as it is measured in a warehouse: planted changes are found, and a quiet world is quiet."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from assets.drift import measure, reference
from assets.drift_report import KEPT, write_report
from assets.ml_tables import record_drift
from models.drift import DriftEvidence, Verdict, judge
from tests.assets.drifting import DECLARED, HORIZON, TRAINED_AT, TRAINED_DAY, fill, world

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from models.candidate import Candidate


def look(connection: DuckDBPyConnection, champion: Candidate, day: int) -> tuple[DriftEvidence, dict[str, Verdict]]:
    evidence = measure(
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
                "lead_source": rng.choice(["web", "ads"], 300).astype(object),
                "never_filled": np.full(300, np.nan),
            }
        )
        for shift in (0, 2)
    ]
    path = tmp_path / "reports" / "2026-02-01.html"
    path.parent.mkdir()
    for day in range(KEPT):
        (path.parent / f"2026-01-{day:02}.html").touch()
    assert write_report(*sides, path)
    text = path.read_text(encoding="utf-8")
    assert "property_value" in text
    assert "never_filled" not in text
    assert '<script src="http' not in text
    assert sorted(each.name for each in path.parent.iterdir())[:1] == ["2026-01-01.html"]
    assert len(list(path.parent.iterdir())) == KEPT
    assert not write_report(sides[0][["never_filled"]], sides[1][["never_filled"]], tmp_path / "nothing.html")
    assert not (tmp_path / "nothing.html").exists()
