"""The candidate asset: what the UI shows of a version, what is recorded, and that a rerun changes nothing."""

from __future__ import annotations

import json
import re
import shutil
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import joblib
import numpy as np
import pandas as pd
import pytest

from assets.learning.candidates import candidate_asset
from assets.learning.champions import champion_asset
from assets.platform.resources import Clock
from assets.platform.values import JsonValues
from assets.publishing.scores import scores_asset
from models.artifacts import MANIFEST, sha256
from models.declared.registry import DECLARATIONS
from models.declaring.declaration import Horizons
from models.evaluation.one_sided import SETTLED_AT
from models.learning.frames import ObservationError
from models.tasks.costs import ErrorCosts
from models.training.training_set import freeze
from models.untrainable import Untrainable
from models.versions.candidate import PIPELINE, load
from store.artifacts import ArtifactStore
from store.features.certificates import CompiledSql
from store.features.compiled import Build, write
from store.ledger.champions import ChampionMismatchError
from store.ledger.decisions import why_no_champion
from store.ledger.predictions import (
    add_predictions,
    grades_in_force,
    outside_by_feature,
    outside_training,
    record_grades,
    record_scoring,
)
from store.ledger.schema import ensure
from store.warehouse.warehouse import Warehouse

AS_OF = pd.Timestamp("2026-01-01", tz="UTC")
CENSUS = pd.Timestamp("2025-11-15", tz="UTC")
DECLARATION = replace(DECLARATIONS["conversion"].with_horizon(30))


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Return observations of leads whose outcome follows their calls."""
    rng = np.random.default_rng(1)
    leads, each = 400, 3
    created = pd.Timestamp("2025-01-01", tz="UTC") + pd.to_timedelta(np.sort(rng.uniform(0, 300, leads)), unit="D")
    lead = np.repeat(np.arange(leads), each)
    calls = rng.poisson(2, len(lead))
    return pd.DataFrame(
        {
            "lead_id": [f"L{number:04d}" for number in lead],
            "as_of": (created[lead] + pd.to_timedelta(np.tile(np.arange(1, each + 1), leads), unit="D")).normalize(),
            "observation_kind": "activity",
            "lead_created_at": created[lead],
            "days_since_last_fact": 1.0,
            "calls_count_7d": calls,
            "lead_source": rng.choice(["web", "fair"], len(lead)),
            "converted": (rng.random(len(lead)) < 1 / (1 + np.exp(3 - 1.5 * calls))).astype(int),
        }
    )


class Bench:
    """A warehouse and a store in a folder, and runs of the candidate and the champion over one training set."""

    def __init__(self, folder: Path, frame: pd.DataFrame, source: str = "here") -> None:
        self.folder = folder
        self.store = ArtifactStore(root=str(folder), reports_address="")
        self.freeze(frame)
        # a build that has passed its proof
        self.compiled = CompiledSql(root=str(folder / "compiled"))
        build = Build(variables={"as_of": AS_OF.isoformat(), "conversion_horizon_days": 30}, models=(), refused=())
        write(self.compiled.path, build)
        said = {"passed": True, "as_of": build.as_of.isoformat(), "sql_sha256": build.sha256}
        self.compiled.certify(DECLARATION.feature_view.name, json.dumps(said))
        self.warehouse = Warehouse(address=f"duckdb:{folder / 'warehouse.duckdb'}")
        with self.warehouse.connect() as connection:
            connection.execute("create schema raw")
            connection.execute(
                "create table raw.extraction as select cast(? as timestamptz) as as_of, ? as source, "
                "'contract' as mapping, '[]' as closing_outcomes, cast(null as bigint) as silence_closes_after_days, "
                "'{\"conversion\": 30}' as horizon_days, '[]' as assumptions",
                [AS_OF.to_pydatetime(), source],
            )
            # the source has a lead of which nothing has been observed yet
            leads = pd.DataFrame({"lead_id": [*frame["lead_id"].unique(), "new"]})
            connection.register("leads", leads)
            connection.execute("create schema staging; create table staging.stg_leads as from leads")
            connection.register("rows", frame)
            connection.execute("create schema features; create table features.lead_features as from rows")

    def freeze(self, frame: pd.DataFrame, recent: pd.DataFrame | None = None, **changes: Any) -> None:
        """Freeze rows, with every lead of them at a later clock as their census, in which some columns are others."""
        census = frame.drop_duplicates("lead_id").assign(as_of=CENSUS, observation_kind="asked", **changes)
        self.frozen = freeze(frame, DECLARATION, self.store.training_sets("conversion"), AS_OF, census, recent)

    def run(
        self,
        training_set: Untrainable | None = None,
        new_grades: bool = False,
        confirmed: tuple[str, ...] = (),
    ) -> dg.ExecuteInProcessResult:
        @dg.asset(key=["training_set", "conversion"])
        def frozen() -> Any:
            return training_set or self.frozen.id

        return dg.materialize(
            [frozen, candidate_asset(DECLARATION), champion_asset(DECLARATION)],
            resources={
                "io_manager": JsonValues(root=str(self.folder / "values")),
                "warehouse": self.warehouse,
                "artifacts": self.store,
                "compiled": self.compiled,
                "horizons": Horizons(overrides={}),
                "new_grades": new_grades,
                "confirmed_features": {"conversion": tuple(confirmed)},
                "clock": Clock(),
            },
        )

    def score(self, open_leads: pd.DataFrame) -> dg.ExecuteInProcessResult:
        """Score leads at the clock."""
        with self.warehouse.connect() as connection:
            connection.execute("create schema if not exists features")
            connection.register("open_leads", open_leads)
            connection.execute("create or replace table features.lead_features as from open_leads")
            connection.execute("create or replace table features.feature_clock as select as_of from raw.extraction")
        return dg.materialize(
            [scores_asset(DECLARATION)],
            resources={
                "warehouse": self.warehouse,
                "artifacts": self.store,
                "compiled": self.compiled,
                "clock": Clock(),
            },
        )

    def copy(self, folder: Path) -> Bench:
        """Return the same in another folder, for a test that changes it."""
        shutil.copytree(self.folder, folder)
        made = copy(self)
        made.folder, made.store = folder, replace(self.store, root=str(folder))
        made.frozen = replace(self.frozen, directory=folder / self.frozen.directory.relative_to(self.folder))
        made.compiled = CompiledSql(root=str(folder / "compiled"))
        made.warehouse = Warehouse(address=f"duckdb:{folder / 'warehouse.duckdb'}")
        return made

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(self.warehouse.shown, read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def files(self) -> dict[str, int]:
        # the values between steps are written by every run
        return {
            str(path): path.stat().st_mtime_ns
            for path in self.folder.rglob("*")
            if path.suffix != ".duckdb" and "values" not in path.relative_to(self.folder).parts
        }


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, frame: pd.DataFrame) -> tuple[Bench, dg.ExecuteInProcessResult]:
    """Return what one run has trained and promoted; change only copies."""
    made = Bench(tmp_path_factory.mktemp("candidates"), frame)
    return made, made.run()


@pytest.fixture
def made(bench: tuple[Bench, dg.ExecuteInProcessResult], tmp_path: Path) -> Bench:
    """Return a copy of it for one test alone."""
    return bench[0].copy(tmp_path / "bench")


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (materialization,) = result.asset_materializations_for_node("candidate__conversion")
    return {name: value.value for name, value in materialization.metadata.items()}


def check_of(result: dg.ExecuteInProcessResult, name: str) -> dg.AssetCheckEvaluation:
    (found,) = (each for each in result.get_asset_check_evaluations() if each.check_name == name)
    return found


def test_the_card_is_readable_in_the_ui(bench: tuple[Bench, dg.ExecuteInProcessResult]) -> None:
    shown = metadata(bench[1])
    card = shown["card"]
    assert f"# conversion {shown['version']}" in card
    assert card.count("data:image/png;base64,") == 2
    assert "| lead_source | web |" in card
    assert "| metric | model | linear | trivial |" in shown["metrics"]
    assert sum(len(str(value)) for value in shown.values()) < 600_000
    assert (Path(shown["artifact"]) / "card.md").exists()


def test_the_card_comes_first_and_what_is_long_last(bench: tuple[Bench, dg.ExecuteInProcessResult]) -> None:
    """The UI lists metadata in the order in which they are given."""
    names = list(metadata(bench[1]))
    assert (names[0], names[-1]) == ("card", "census")


def test_the_last_ten_decisions_are_shown_the_latest_first(tmp_path: Path, frame: pd.DataFrame) -> None:
    made = Bench(tmp_path, frame)
    made.run()
    with made.warehouse.connect() as connection:
        connection.execute(
            "insert into ml.ml_decisions by name select decisions.* replace ('earlier-' || n as run_id, "
            "decided_at - n * interval '1 day' as decided_at) from ml.ml_decisions as decisions, "
            "range(1, 13) as days (n)"
        )
    shown = table_of(made.run(training_set=UNTRAINABLE), "champion", "last_decisions")
    expected = made.ask(
        "select strftime(decided_at at time zone 'UTC', '%Y-%m-%d %H:%M UTC'), outcome, rule, reason, version "
        "from ml.ml_decisions order by decided_at desc limit 10"
    )
    assert [tuple(row.values()) for row in shown] == expected
    assert list(shown[0]) == ["decided_at", "outcome", "rule", "reason", "version"]
    assert [row["rule"] for row in shown[:2]] == ["untrainable", "first_champion"]


def table_of(result: dg.ExecuteInProcessResult, layer: str, name: str) -> list[dict[str, str]]:
    """Return the rows of a table among the metadata of an asset of a model."""
    (materialization,) = result.asset_materializations_for_node(f"{layer}__conversion")
    return [dict(record.data) for record in materialization.metadata[name].value.records]


def test_a_gate_that_is_missed_is_shown_and_is_no_fault(bench: tuple[Bench, dg.ExecuteInProcessResult]) -> None:
    shown = metadata(bench[1])
    for name, bound in DECLARATION.gates.items():
        assert re.search(rf"\| {name} \|.*{bound:g}", shown["gates"]), name
    assert "entities is 401, its gate at least 10000" in shown["missed_gates"]
    (recorded,) = bench[0].ask("select missed_gates from ml.ml_models")
    assert "; ".join(json.loads(recorded[0])) == shown["missed_gates"]
    names = {each.check_name for each in bench[1].get_asset_check_evaluations()}
    assert "gates" not in names, "a check would be yellow for as long as the target is out of reach"


def test_a_first_champion_beats_the_baseline_beyond_the_interval(
    bench: tuple[Bench, dg.ExecuteInProcessResult],
) -> None:
    ((outcome, rule, evidence),) = bench[0].ask("select outcome, rule, evidence from ml.ml_decisions")
    assert (outcome, rule) == ("promote", "first_champion")
    better = json.loads(evidence)["over_baseline"]
    assert 0 < better["auc"]["lower"] < better["auc"]["value"] < better["auc"]["upper"]
    assert better["log_loss"]["lower"] > 0


def test_what_training_cost_is_logged(bench: tuple[Bench, dg.ExecuteInProcessResult]) -> None:
    ((minutes, milliseconds),) = bench[0].ask(
        "select training_minutes, prediction_milliseconds from ml.ml_training_logs"
    )
    assert minutes > 0
    assert milliseconds > 0


def test_a_rerun_trains_nothing_and_rewrites_no_file(made: Bench) -> None:
    before = made.files()
    again = made.run()
    assert metadata(again)["reused"] is True
    assert made.files() == before


UNTRAINABLE = Untrainable(reason="Nothing was won.", horizon_matters=False)


def test_a_model_that_cannot_be_trained_is_refused_and_leaves_its_champion(tmp_path: Path, frame: pd.DataFrame) -> None:
    made = Bench(tmp_path, frame)
    result = made.run(training_set=UNTRAINABLE)

    assert result.success
    check = check_of(result, "census")
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "Nothing was won." in check_of(result, "census").description
    assert "Nothing was won." in check_of(result, "hindsight").description
    refused = [("none", "refuse", "untrainable", "Nothing was won.")]
    assert made.ask("select version, outcome, rule, reason from ml.ml_decisions") == refused
    assert made.ask("select count(*) from ml.ml_champions") == [(0,)]

    made.run()
    champion = made.ask("from ml.ml_champions")
    made.run(training_set=UNTRAINABLE)

    assert made.ask("select outcome from ml.ml_decisions order by decided_at") == [
        ("refuse",), ("promote",), ("refuse",)
    ]  # fmt: skip
    assert made.ask("from ml.ml_champions") == champion != []


def test_rows_that_cannot_be_split_are_no_failure(tmp_path: Path, frame: pd.DataFrame) -> None:
    made = Bench(tmp_path, frame.assign(converted=0))
    assert made.run().success
    ((rule, reason),) = made.ask("select rule, reason from ml.ml_decisions")
    assert rule == "untrainable"
    assert "have 0 as converted" in reason
    assert made.ask("select count(*) from ml.ml_models") == [(0,)]


def test_the_check_of_the_census_shows_what_was_expected(bench: tuple[Bench, dg.ExecuteInProcessResult]) -> None:
    check = check_of(bench[1], "census")
    shown = {name: value.value for name, value in check.metadata.items()}
    assert (check.passed, shown["off"]) == (True, "none")
    assert (shown["clocks"], shown["rows"], shown["at_most"]) == ("2025-11-15", 400, 0.1)
    ((census,),) = bench[0].ask("select census from ml.ml_models")
    (total,) = json.loads(census)["totals"]
    assert (shown["converted_expected"], shown["converted_happened"]) == (total["expected"], total["actual"])
    assert "## Census" in metadata(bench[1])["census"]


def test_a_census_that_is_off_fails_the_check_and_is_no_champion(tmp_path: Path, frame: pd.DataFrame) -> None:
    made = Bench(tmp_path, frame)
    made.freeze(frame, converted=0)
    result = made.run()

    check = check_of(result, "census")
    off = check.metadata["off"].value
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert f"converted: expected {check.metadata['converted_expected'].value:,.1f}, happened 0; converted where " in off
    ((outcome, rule, reason),) = made.ask("select outcome, rule, reason from ml.ml_decisions")
    assert (outcome, rule) == ("refuse", "census_off")
    assert "off by more than 10%, and by more than chance: converted expected " in reason
    assert "; converted where days_since_last_fact is below 7 expected " in reason
    assert made.ask("select count(*) from ml.ml_champions") == [(0,)]


def at_the_clock(frame: pd.DataFrame, leads: int, *, unlike: int) -> pd.DataFrame:
    """Return open leads, some of which come from where no lead has come from."""
    rows = frame.drop_duplicates("lead_id").head(leads).drop(columns="converted").assign(as_of=AS_OF)
    return rows.assign(lead_source=["mars"] * unlike + ["web"] * (leads - unlike))


def test_the_check_of_what_lies_outside_of_training_fails_above_its_bound(made: Bench, frame: pd.DataFrame) -> None:
    for unlike, passes in ((0, True), (3, True), (4, False)):
        with made.warehouse.connect() as connection:
            connection.execute("delete from ml.ml_predictions")
        check = check_of(made.score(at_the_clock(frame, 9, unlike=unlike)), "inside_training")
        assert (check.passed, check.metadata["outside_training"].value) == (passes, unlike)
        assert check.metadata["open_entities"].value == 9
        assert made.ask("select scored, outside_training from ml.ml_scoring_logs") == [(9, unlike)]
    assert check.severity == dg.AssetCheckSeverity.WARN


def test_what_is_scored_now_is_told_apart_from_what_a_run_has_added(tmp_path: Path, frame: pd.DataFrame) -> None:
    made = Bench(tmp_path, frame)
    made.run()
    for leads, scored, added in ((at_the_clock(frame, 9, unlike=1), 9, 9), (at_the_clock(frame, 12, unlike=1), 12, 3)):
        for now, by_run in ((scored, added), (scored, 0)):
            result = made.score(leads)
            (materialization,) = result.asset_materializations_for_node("scores__conversion")
            said = {name: value.value for name, value in materialization.metadata.items()}
            assert (said["open_entities"], said["scored_now"], said["scored_by_this_run"]) == (now, now, by_run)
            ((mean,),) = made.ask("select avg(value) from ml.ml_predictions")
            assert said["mean_prediction"] == {"converted": round(mean, 6)}
    shown = table_of(result, "scores", "highest_predictions")
    highest = made.ask("select entity_id, value from ml.ml_predictions order by value desc, entity_id limit 10")
    assert [(row["lead_id"], row["value"]) for row in shown] == [(lead, f"{value:.3f}") for lead, value in highest]
    assert all(row["grade"] and row["target"] == "converted" for row in shown)
    assert any(" it by " in row["reasons"] for row in shown)
    left = table_of(made.score(at_the_clock(frame, 5, unlike=1)), "scores", "highest_predictions")
    assert len(left) == 5, "what is not open any more was scored, and is shown no longer"
    (marked,) = (row for row in left if row["outside_training"])
    assert marked["outside_training"].startswith("lead_source = mars")


def test_an_entity_outside_of_training_counts_once_for_its_version_and_clock(tmp_path: Path) -> None:
    mars, old = "lead_source = mars (seldom or never learnt from)", "lead_age_days = 512 (learnt from up to 455)"
    predictions = pd.DataFrame(
        {
            "model": "next_best_action", "version": "v1", "entity": "lead",
            "entity_id": ["L1", "L1", "L2", "L3"], "as_of": AS_OF,
            "target": ["no_action", "call_immediate", "no_action", "no_action"], "value": 0.5, "lower": None,
            "upper": None, "score": None,
            "grade": None, "reasons": None, "chosen": None,
            "outside_training": [*[f"{mars}; {old}"] * 2, None, old],
        }
    )  # fmt: skip
    with Warehouse(address=f"duckdb:{tmp_path / 'warehouse.duckdb'}").connect() as connection:
        ensure(connection)
        others = ({"model": "conversion"}, {"version": "v2"}, {"as_of": AS_OF - pd.Timedelta(days=1)})
        for change in ({}, *others):
            rows = predictions.assign(**change)
            add_predictions(connection, rows if not change else rows.assign(outside_training="x"), AS_OF)
        assert outside_training(connection, "next_best_action", "v1", AS_OF.to_pydatetime()) == 2
        connection.execute("create schema raw")
        connection.execute("create table raw.extraction as select $1 as as_of", [AS_OF.to_pydatetime()])
        connection.execute(
            "insert into ml.ml_scoring_logs by name select 'next_best_action' as model, 'v1' as version, as_of, "
            "3 as open_entities, 3 as scored, as_of as scored_at from raw.extraction"
        )
        assert outside_by_feature(connection, "next_best_action") == {"lead_age_days": 2, "lead_source": 1}


def test_what_was_scored_already_gets_the_grades_in_force(made: Bench, frame: pd.DataFrame) -> None:
    open_leads = at_the_clock(frame, 40, unlike=0)
    made.score(open_leads)
    with made.warehouse.connect() as connection:
        connection.execute(
            "insert into ml.ml_predictions by name "
            "select * replace (as_of - interval '1 day' as as_of) from ml.ml_predictions"
        )
        version = load(next(made.store.versions("conversion").iterdir()))
        before = made_grades(connection)
        likely = sorted(probability for _, probability, _, today in before if today)[20]
        bounds = {"A": likely, "D": 0.0}
        record_grades(connection, version, DECLARATION.grades, bounds, "asked", (AS_OF + pd.Timedelta(days=3_650)))

    for _ in range(2):
        made.score(open_leads)
        with made.warehouse.connect() as connection:
            after = made_grades(connection)
        assert [row for row in after if not row[3]] == [row for row in before if not row[3]], (
            "an earlier clock keeps its"
        )
        assert [row[:2] for row in after] == [row[:2] for row in before], "nothing is predicted anew"
        today = [(probability, grade) for _, probability, grade, of_now in after if of_now]
        assert all(grade == ("A" if probability >= likely else "D") for probability, grade in today)
        assert {grade for _, grade in today} == {"A", "D"}
    assert {grade for *_, grade, of_now in before if of_now} - {"A", "D"}, "others than were given before"


def test_costs_of_errors_are_recorded_and_what_they_choose_is_published(
    tmp_path: Path, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = ErrorCosts(false_positive=1, false_negative=1.5)
    monkeypatch.setitem(globals(), "DECLARATION", replace(DECLARATION, task=replace(DECLARATION.task, costs=costs)))
    made = Bench(tmp_path, frame)
    result = made.run()
    ((recorded,),) = made.ask("select costs from ml.ml_models")
    measured = json.loads(recorded)
    assert measured["costs"] == [[0, 1], [1.5, 0]]
    threshold = measured["threshold"]["threshold"]
    assert threshold == pytest.approx(0.4)
    assert [each["name"] for each in measured["census"]] == ["this version", "never act", "always act"]
    (card,) = (each.metadata["card"].value for each in result.asset_materializations_for_node("candidate__conversion"))
    assert "## Costs of errors" in card
    made.score(frame.drop(columns="converted").drop_duplicates("lead_id").assign(as_of=AS_OF))
    chosen = made.ask("select chosen, count(*), min(value), max(value) from ml.ml_predictions group by 1 order by 1")
    assert [(each[0], each[1] > 0) for each in chosen] == [(False, True), (True, True)]
    assert chosen[0][3] < threshold <= chosen[1][2]


def made_grades(connection: Any) -> list[tuple[str, float, str, bool]]:
    """Return lead, probability and grade of each prediction, and whether it is of the clock."""
    rows: list[tuple[str, float, str, bool]] = connection.execute(
        "select entity_id, value, grade, as_of = (select as_of from raw.extraction) from ml.ml_predictions "
        "order by as_of, entity_id"
    ).fetchall()
    return rows


def test_grades_outlive_the_version_until_new_ones_are_asked_for(made: Bench, frame: pd.DataFrame) -> None:
    first = made.ask("from ml.ml_grades order by grade")
    ((census,),) = made.ask("select census from ml.ml_models")
    assert {grade: bound for _, _, grade, _, bound, *_ in first} == json.loads(census)["grades"]
    assert {row[-1] for row in first} == {"These are the first grades of the model."}

    made.freeze(frame.iloc[:-3])
    made.run()
    assert made.ask("select count(*) from ml.ml_models") == [(2,)]
    assert made.ask("select outcome from ml.ml_decisions order by decided_at") == [("promote",), ("promote",)]
    assert made.ask("from ml.ml_grades order by grade") == first

    # the champion stays, and its grades are cut anew
    made.run(new_grades=True)
    assert made.ask("select outcome from ml.ml_decisions order by decided_at")[-1] == ("keep",)
    with made.warehouse.connect() as connection:
        in_force = grades_in_force(connection, "conversion")
    ((census,),) = made.ask("select census from ml.ml_models order by created_at desc limit 1")
    assert in_force is not None
    assert dict(in_force.bounds) == json.loads(census)["grades"]
    assert (in_force.horizon_days, dict(in_force.quantiles)) == (30, dict(DECLARATION.grades))
    assert made.ask(
        "select distinct reason from ml.ml_grades where set_at = (select max(set_at) from ml.ml_grades)"
    ) == [("New grades were asked for.",)]


def test_a_grade_that_ties_is_recorded_without_a_bound(made: Bench) -> None:
    version = load(next(made.store.versions("conversion").iterdir()))
    with made.warehouse.connect() as connection:
        for hour, bounds in enumerate(({"A": 0.5, "C": 0.1, "D": 0.0}, {"B": 0.25, "D": 0.0})):
            at = (AS_OF + pd.Timedelta(days=3_650, hours=hour)).to_pydatetime()
            record_grades(connection, version, DECLARATION.grades, bounds, "asked", at)
            found = grades_in_force(connection, "conversion")
            assert found is not None
            assert list(found.bounds.items()) == list(bounds.items()), "of those set last, the best first"
            assert dict(found.quantiles) == dict(DECLARATION.grades)


def unmeasured(made: Bench) -> str:
    """Make the champion one of a recipe that knew no census, and return its version."""
    with made.warehouse.connect() as connection:
        connection.execute("update ml.ml_models set census = null")
        connection.execute("create schema if not exists features")
        connection.execute("create or replace table features.feature_clock as select as_of from raw.extraction")
    ((version,),) = made.ask("select version from ml.ml_champions")
    return str(version)


def test_a_champion_without_a_census_scores_nothing_and_goes_with_the_next_refusal(made: Bench) -> None:
    version = unmeasured(made)
    resources = {
        "warehouse": made.warehouse, "artifacts": made.store, "compiled": made.compiled, "clock": Clock()
    }  # fmt: skip
    with pytest.raises(dg.Failure, match=f"measured on a census, found {version}, .* whole_loop once") as refused:
        dg.materialize([scores_asset(DECLARATION)], resources=resources)
    assert not refused.value.allow_retries
    assert made.ask("select count(*) from ml.ml_predictions") == [(0,)]

    made.run(training_set=UNTRAINABLE)

    assert made.ask("select count(*) from ml.ml_champions") == [(0,)]
    ((reason,),) = made.ask("select reason from ml.ml_decisions order by decided_at desc limit 1")
    assert reason == (
        f"Nothing was won. The champion {version}, of an earlier recipe, was never measured on a census and scores "
        "no longer."
    )


def test_a_champion_that_does_not_load_goes_with_the_next_refusal(made: Bench, frame: pd.DataFrame) -> None:
    (version,) = made.store.versions("conversion").iterdir()
    made.run(training_set=UNTRAINABLE)
    assert made.ask("select count(*) from ml.ml_champions") == [(1,)], "it loads"
    with (version / PIPELINE).open("ab") as file:
        file.write(b"more")

    refused = made.run(training_set=UNTRAINABLE)
    scored = made.score(at_the_clock(frame, 5, unlike=0))

    assert refused.success
    assert scored.success
    assert made.ask("select event from ml.ml_champion_history order by number") == [("promoted",), ("retired",)]
    ((reason,),) = made.ask("select unscored_reason from ml.ml_scoring_logs")
    assert reason.startswith(
        f"Nothing was won. The champion {version.name} does not load any more (models/conversion/{version.name}/"
        f"{PIPELINE}: expected SHA-256 "
    )
    assert reason.endswith(") and scores no longer.")
    assert made.ask("select reason from ml.ml_decisions order by decided_at desc limit 1") == [(reason,)]


def test_a_champion_whose_feature_is_gone_scores_nothing_and_goes_with_the_next_refusal(
    made: Bench, frame: pd.DataFrame
) -> None:
    """A person may accept that the source has an attribute no more; its scores would then be those of other rows."""
    (version,) = made.store.versions("conversion").iterdir()
    found = (
        rf"{version.name}, which learnt from features that are no more \(calls_count_7d\); run the job whole_loop once"
    )
    with pytest.raises(ChampionMismatchError, match=found):
        made.score(at_the_clock(frame, 5, unlike=0).drop(columns="calls_count_7d"))
    assert made.ask("select count(*) from ml.ml_predictions") == [(0,)]

    made.run(training_set=UNTRAINABLE)

    ((reason,),) = made.ask("select reason from ml.ml_decisions order by decided_at desc limit 1")
    assert reason == (
        f"Nothing was won. The champion {version.name} learnt from features that are no more (calls_count_7d) and "
        "scores no longer."
    )


def test_advice_that_cannot_be_given_costs_no_refusal_its_record(
    tmp_path: Path, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    shuffled = np.random.default_rng(3).permutation(frame["converted"])
    made = Bench(tmp_path, frame.assign(converted=shuffled))
    assert made.run().success, "the SQL of the last build is not there"
    monkeypatch.setattr(CompiledSql, "build", lambda self, as_of: None)

    def fails(*_: object) -> None:
        raise ObservationError("found rows without a value")

    monkeypatch.setattr("store.measuring.shorter_horizons._trials", fails)
    result = made.run()
    assert result.success
    reasons = made.ask("select rule, reason, evidence from ml.ml_decisions order by decided_at")
    assert [rule for rule, *_ in reasons] == ["baseline_not_beaten"] * 2
    assert "No shorter horizon could be tried: " in reasons[0][1]
    assert reasons[1][1].endswith(" No shorter horizon could be tried: found rows without a value.")
    assert json.loads(reasons[1][2])["shorter"]["failure"] == "found rows without a value"
    (champion,) = result.asset_materializations_for_node("champion__conversion")
    assert "found rows without a value" in champion.metadata["shorter_horizons"].value


def test_a_measured_version_takes_the_place_of_one_that_was_not(made: Bench, frame: pd.DataFrame) -> None:
    version = unmeasured(made)
    made.freeze(frame.iloc[:-3])
    made.run()
    assert made.ask("select rule from ml.ml_decisions order by decided_at")[-1] == ("champion_not_on_census",)
    ((champion,),) = made.ask("select version from ml.ml_champions")
    assert champion != version


def test_tables_of_an_earlier_release_gain_the_new_columns(tmp_path: Path) -> None:
    gained = {"ml_models": "census", "ml_predictions": "outside_training", "ml_scoring_logs": "outside_training"}
    with Warehouse(address=f"duckdb:{tmp_path / 'warehouse.duckdb'}").connect() as connection:
        ensure(connection)
        whole = connection.execute("select table_name, column_name from duckdb_columns() order by all").fetchall()
        for table, column in gained.items():
            connection.execute(f"alter table ml.{table} drop column {column}")
        connection.execute("drop table ml.ml_grades")
        connection.execute("insert into ml.ml_scoring_logs values ('conversion', now(), 'v1', 7, 7, null, now())")
        ensure(connection)
        assert (
            connection.execute("select table_name, column_name from duckdb_columns() order by all").fetchall() == whole
        )
        assert connection.execute("select scored, outside_training from ml.ml_scoring_logs").fetchall() == [(7, None)]
        assert grades_in_force(connection, "conversion") is None


def test_what_was_scored_and_why_not_is_logged_once(tmp_path: Path) -> None:
    said = {"version": None, "open_entities": 7, "unscored_reason": "Nothing was won."}
    with Warehouse(address=f"duckdb:{tmp_path / 'warehouse.duckdb'}").connect() as connection:
        ensure(connection)
        assert "never been trained" in why_no_champion(connection, "conversion")
        for hour, change in enumerate(({}, {}, {"version": "v1", "unscored_reason": None})):
            record_scoring(
                connection, "conversion", AS_OF.to_pydatetime(), **{**said, **change},
                scored_at=(AS_OF + pd.Timedelta(hours=hour)).to_pydatetime(),
            )  # fmt: skip
            logged = connection.execute("select version, scored, extract(hour from scored_at at time zone 'UTC') "
                                        "from ml.ml_scoring_logs").fetchall()  # fmt: skip
            assert logged == ([(None, 0, 0)] if hour < 2 else [("v1", 7, 2)])


def leaking(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the observations with a price that is known of leads that were settled, and recent rows that show it.

    Every second lead was settled. The other ones are open at the clock.
    """
    even = frame["lead_id"].str[-1].isin(list("02468"))
    priced = frame.assign(price=(100.0 + frame["calls_count_7d"]).where(even))
    first = priced.drop_duplicates("lead_id").drop(columns="converted")
    earlier = first.assign(
        as_of=AS_OF - pd.Timedelta(days=20), settled_at=AS_OF - pd.Timedelta(days=9), lead_age_days=1.0
    )
    earlier[SETTLED_AT] = earlier[SETTLED_AT].where(even[first.index])
    now = earlier[earlier[SETTLED_AT].isna()].assign(as_of=AS_OF)
    return priced, pd.concat([earlier, now], ignore_index=True)


def test_an_honest_candidate_passes_the_check_of_hindsight(bench: tuple[Bench, dg.ExecuteInProcessResult]) -> None:
    check = check_of(bench[1], "hindsight")
    assert check.passed
    assert (check.metadata["suspected"].value, check.metadata["confirmed"].value) == ("none", "none")
    assert "| calls_count_7d | converted |" in check.metadata["measured"].value
    ((hindsight,),) = bench[0].ask("select hindsight from ml.ml_models")
    ((confirmed,),) = bench[0].ask("select distinct confirmed_features from ml.ml_training_logs")
    assert json.loads(hindsight)["alone"][0]["feature"] == "calls_count_7d"
    assert confirmed == "[]"


def test_a_suspected_feature_keeps_a_version_back_until_a_person_confirms_it(
    tmp_path: Path, frame: pd.DataFrame
) -> None:
    made = Bench(tmp_path, frame)
    made.freeze(*leaking(frame))
    result = made.run()

    check = check_of(result, "hindsight")
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert check.metadata["suspected"].value.startswith(
        "price is filled in 200 leads before they were settled; of the 200"
    )
    ((rule, outcome, reason),) = made.ask("select rule, outcome, reason from ml.ml_decisions")
    assert (rule, outcome) == ("hindsight", "refuse")
    assert "price is filled in 200 leads" in reason
    assert reason.endswith("LEADLINE_CONFIRMED_FEATURES=conversion.price.")
    assert made.ask("select count(*) from ml.ml_champions") == [(0,)]
    assert "- price is filled in 200 leads" in metadata(result)["card"]

    result = made.run(confirmed=("price",))

    check = check_of(result, "hindsight")
    assert check.passed
    assert (check.metadata["suspected"].value, check.metadata["confirmed"].value) == ("none", "price")
    assert "(**confirmed** by a person)" in metadata(result)["card"]
    (_, (rule, reason, evidence)) = made.ask("select rule, reason, evidence from ml.ml_decisions order by decided_at")
    assert rule == "first_champion"
    assert reason.endswith("Suspected of hindsight, and confirmed by a person: price.")
    assert json.loads(evidence)["confirmed"] == ["price"]
    assert json.loads(evidence)["suspected"][0]["feature"] == "price"
    assert made.ask("select confirmed_features from ml.ml_training_logs order by finished_at") == [
        ("[]",), ('["price"]',)
    ]  # fmt: skip
    assert made.ask("select count(*) from ml.ml_models") == [(1,)], "the version is the same"


def test_a_confirmed_name_that_is_no_feature_stops_the_training(tmp_path: Path, frame: pd.DataFrame) -> None:
    made = Bench(tmp_path, frame)
    with pytest.raises(dg.Failure, match=r"found conversion\.call_count_7d\. Did you mean calls_count_7d\?") as refused:
        made.run(confirmed=("call_count_7d",))
    assert not refused.value.allow_retries
    assert not made.store.versions("conversion").exists()


def test_a_champion_at_which_nobody_has_looked_goes_with_a_refusal_for_hindsight(
    made: Bench, frame: pd.DataFrame
) -> None:
    ((champion,),) = made.ask("select version from ml.ml_champions")
    made.freeze(*leaking(frame))
    made.run()
    assert made.ask("select version from ml.ml_champions") == [(champion,)], "it was looked at"

    with made.warehouse.connect() as connection:
        connection.execute("update ml.ml_models set hindsight = null where version = $1", [champion])
    made.run(training_set=UNTRAINABLE)
    assert made.ask("select version from ml.ml_champions") == [(champion,)], "nothing is known against it"

    made.run()
    assert made.ask("select count(*) from ml.ml_champions") == [(0,)]
    ((reason,),) = made.ask("select reason from ml.ml_decisions order by decided_at desc limit 1")
    assert reason.endswith(
        f"The champion {champion}, of an earlier recipe, was never looked at for hindsight and scores no longer."
    )


class Planted:
    """What makes a file when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.made,)


def plant(version: Path, made: Path) -> None:
    """Put a pipeline that makes a file in the place of that of a version, with a manifest that vouches for it."""
    joblib.dump(Planted(made), version / PIPELINE)
    manifest = json.loads((version / MANIFEST).read_text())
    manifest["files"][PIPELINE] = sha256(version / PIPELINE)
    # with other libraries it would be unpickled as soon as it is loaded
    (version / MANIFEST).write_text(json.dumps({**manifest, "libraries": {}}))


def test_nothing_is_unpickled_that_the_ledger_does_not_vouch_for(
    made: Bench, tmp_path: Path, frame: pd.DataFrame
) -> None:
    planted = tmp_path / "planted"
    (version,) = made.store.versions("conversion").iterdir()
    written, recorded = sha256(version / MANIFEST), made.ask("from ml.ml_models")

    plant(version, planted)
    again = made.run()

    assert not planted.exists()
    assert not metadata(again)["reused"]
    assert sha256(version / MANIFEST) == written
    assert made.ask("from ml.ml_models") == recorded
    # what was there is kept, for somebody put it there
    assert (version.with_name(f"{version.name}.damaged-1") / PIPELINE).exists()

    # where its ledger does not have it, as after a warehouse was lost
    plant(version, planted)
    other = Bench(tmp_path / "there", frame)
    shutil.copytree(version, other.store.versions("conversion") / version.name)
    run = other.run()

    assert not planted.exists()
    assert not metadata(run)["reused"]
    assert other.ask("select manifest_sha256 from ml.ml_models") == [(written,)]
    assert metadata(other.run())["reused"]


def test_a_champion_whose_files_the_ledger_does_not_vouch_for_scores_nothing(
    made: Bench, tmp_path: Path, frame: pd.DataFrame
) -> None:
    planted = tmp_path / "planted"
    plant(next(made.store.versions("conversion").iterdir()), planted)

    with pytest.raises(Exception, match="as recorded in the ledger, found"):
        made.score(at_the_clock(frame, 40, unlike=0))
    # it does not stand in the way of its successor either
    made.freeze(frame.iloc[:-3])
    assert made.run().success

    assert not planted.exists()
    assert made.ask("select outcome from ml.ml_decisions order by decided_at") == [("promote",), ("promote",)]


def test_a_version_that_was_trained_again_to_other_bytes_is_vouched_for(made: Bench) -> None:
    (version,) = made.store.versions("conversion").iterdir()
    shutil.rmtree(version)
    with made.warehouse.connect() as connection:
        for table in ("ml_models", "ml_champion_history"):
            connection.execute(f"update ml.{table} set manifest_sha256 = 'of another machine'")

    made.run()

    written = [(sha256(version / MANIFEST),)]
    assert made.ask("select manifest_sha256 from ml.ml_models") == written
    assert made.ask("select manifest_sha256 from ml.ml_champions") == written
    assert made.ask("select event, manifest_sha256 from ml.ml_champion_history order by number") == [
        ("promoted", "of another machine"),
        ("trained_again", *written[0]),
    ]


def test_values_between_steps_are_no_pickles(tmp_path: Path, frame: pd.DataFrame) -> None:
    made, planted = Bench(tmp_path / "home", frame), tmp_path / "planted"
    value = made.folder / "values" / "training_set" / "conversion"
    value.parent.mkdir(parents=True)
    joblib.dump(Planted(planted), value)
    made.run(training_set=UNTRAINABLE)
    (version,) = metadata(made.run())["version"].splitlines()
    assert json.loads(value.with_suffix(".json").read_text()) == {"value": made.frozen.id}
    assert json.loads((made.folder / "values/candidate/conversion.json").read_text()) == {"value": version}

    joblib.dump(Planted(planted), value.with_suffix(".json"))
    context = dg.build_input_context(asset_key=dg.AssetKey(["training_set", "conversion"]))
    with pytest.raises(dg.Failure) as caught:
        JsonValues(root=str(made.folder / "values")).load_input(context)

    assert str(caught.value.description).startswith(
        f"{value}.json: expected the value of training_set/conversion, found text that is not JSON ("
    )
    assert str(caught.value.description).endswith("Materialize training_set/conversion again.")
    assert not planted.exists()
