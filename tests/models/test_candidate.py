"""Candidates are trained once, verified when read, and better than nothing."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
import pytest

from models.artifacts import MANIFEST, ArtifactMismatchError, sha256
from models.declaring.declaration import RowWeight
from models.evaluation.calibration import CalibrationDecision
from models.evaluation.records import EVALUATION
from models.learning.fitting import predict
from models.learning.frames import model_input
from models.learning.pipelines import fingerprint
from models.tasks.multiclass import Multiclass
from models.training import training
from models.training.training import train
from models.training.training_set import freeze
from models.versions import candidate as candidates
from models.versions.candidate import HELD_OUT, PIPELINE, PREDICTIONS, evaluate, load
from tests.models.conftest import open_at

CLOCK = pd.Timestamp("2025-12-31", tz="UTC")


@pytest.fixture
def copied(converter, tmp_path):
    """Return a copy of the trained version that a test may damage."""
    return shutil.copytree(converter.directory, tmp_path / converter.version)


def test_version_names_the_data_and_is_trained_once(conversion, conversion_set, converter):
    last = conversion_set.frame()["as_of"].max()
    assert converter.version.startswith(f"{last:%Y%m%d}-")
    assert not converter.reused
    written = sha256(converter.directory / MANIFEST)
    again = train(conversion, conversion_set, converter.directory.parent)
    assert again.reused
    assert again.version == converter.version
    assert sha256(converter.directory / MANIFEST) == written


def test_probabilities_of_many_outcomes_stand_beside_many_features_without_a_warning():
    many = pd.DataFrame({f"feature {number}": [0.0, 1.0] for number in range(150)})
    rows = model_input(many, dict.fromkeys(many, "number")).iloc[::1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        beside = training._with_predictions(rows, np.array([[0.25, 0.75], [0.5, 0.5]]), Multiclass(("call", "none")))
    assert list(beside.columns[-2:]) == ["probability_call", "probability_none"]
    assert beside.iloc[1, -4:].tolist() == [1, 1, 0.5, 0.5]


def test_the_same_inputs_give_the_same_model(conversion, conversion_set, converter, tmp_path):
    again = train(conversion, conversion_set, tmp_path)
    assert again.version == converter.version
    assert sha256(again.directory / MANIFEST) == sha256(converter.directory / MANIFEST)
    for name in (HELD_OUT, PREDICTIONS):
        pd.testing.assert_frame_equal(
            pd.read_parquet(again.directory / name), pd.read_parquet(converter.directory / name), check_exact=True
        )


def test_the_evaluation_does_not_depend_on_the_number_of_threads(
    conversion, conversion_set, converter, tmp_path, monkeypatch
):
    monkeypatch.setattr("models.learning.fitting.FEW_ROWS", 0)
    monkeypatch.setattr("models.learning.fitting.free_cores", lambda: 3)
    again = train(conversion, conversion_set, tmp_path)
    assert (again.directory / EVALUATION).read_bytes() == (converter.directory / EVALUATION).read_bytes()


def test_what_it_cost_is_kept_and_not_vouched_for(converter):
    cost = converter.cost()
    assert cost["file_megabytes"] == (converter.directory / PIPELINE).stat().st_size / 1e6
    assert cost["training_minutes"] > 0
    assert cost["prediction_milliseconds"] > 0
    assert candidates.COST not in converter.manifest["files"]


def test_a_scaling_is_published_where_it_is_measured(conversion, conversion_set, converter, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "models.evaluation.assessment.decide_calibration", lambda evidence: CalibrationDecision(applied=True, reason="")
    )
    scaled = train(conversion, conversion_set, tmp_path)
    scaling = evaluate(scaled).calibration.scaling
    before, after = (each.held_out()["probability_converted"].to_numpy() for each in (converter, scaled))
    np.testing.assert_allclose(after, scaling.apply(before[:, None])[:, 0], atol=1e-8)
    before, after = (pd.read_parquet(each.directory / PREDICTIONS) for each in (converter, scaled))
    np.testing.assert_allclose(
        after["probability_converted"], scaling.apply(before[["probability_converted"]].to_numpy())[:, 0], atol=1e-8
    )
    rows = model_input(after, scaled.features)
    np.testing.assert_array_equal(
        predict(load(scaled.directory).pipeline, rows, scaled.task)[:, 0], after["probability_converted"]
    )


def test_another_declaration_is_another_version(conversion, conversion_set, converter, tmp_path):
    assert train(replace(conversion, seed=1), conversion_set, tmp_path).version != converter.version


@pytest.mark.parametrize(
    ("name", "value"), [("RECIPE", candidates.RECIPE + 1), ("library_versions", lambda: {"scikit-learn": "9"})]
)
def test_other_code_is_another_version(conversion, conversion_set, converter, tmp_path, monkeypatch, name, value):
    monkeypatch.setattr(training, name, value)
    assert train(conversion, conversion_set, tmp_path).version != converter.version


def test_held_out_leads_are_the_last_and_were_not_learnt_from(converter, conversion_set):
    held_out = converter.held_out()
    created = conversion_set.frame().drop_duplicates("lead_id").set_index("lead_id")["lead_created_at"]
    cut = pd.Timestamp(converter.manifest["split"]["cut"])
    assert set(held_out["lead_id"]) == set(created[created >= cut].index)
    assert converter.manifest["split"]["test_entities"] == held_out["lead_id"].nunique() == 150
    split = converter.manifest["split"]
    assert split["train_rows"] + split["test_rows"] + split["rows_on_neither_side"] == converter.manifest["rows"]


def test_the_published_pipeline_has_seen_all_rows(converter, conversion_set):
    held_out = converter.held_out()
    rows = conversion_set.frame().merge(held_out[["lead_id", "as_of"]])
    published = predict(converter.pipeline, model_input(rows, converter.features), converter.task)[:, 0]
    assert not np.allclose(published, held_out["probability_converted"])


def test_the_census_is_measured_by_what_knew_nothing_of_it(converter, conversion_set):
    census = evaluate(converter).census
    rows = conversion_set.census()
    assert census.clocks == ("2025-08-01", "2025-09-15", "2025-11-01")
    assert (census.rows, census.entities) == (len(rows), rows["lead_id"].nunique()) == (900, 300)
    (total,) = census.totals
    assert total.actual == rows["converted"].sum()
    assert total.expected == pytest.approx(total.actual, rel=0.1)
    published = predict(converter.pipeline, model_input(rows, converter.features), converter.task)[:, 0]
    assert abs(total.expected - published.sum()) > 0.1, "the published pipeline has learnt from more"
    assert census.value_actual == pytest.approx((rows["value"] * rows["converted"]).sum())
    assert list(census.grades) == ["A", "B", "C", "D"]
    shares = [each.rows / census.rows for each in census.slices if each.column == "grade"]
    assert shares == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.06)


def test_a_census_of_the_time_that_was_learnt_from_is_refused(frame, conversion, converter, tmp_path):
    cut = pd.Timestamp(converter.manifest["split"]["cut"])
    early = open_at([cut.floor("D")]).drop(columns="next_action")
    frozen = freeze(frame.drop(columns="next_action"), conversion, tmp_path / "sets", CLOCK, early)
    with pytest.raises(ValueError, match=r"expected a census of clocks from .* on, .*freeze a new one"):
        train(conversion, frozen, tmp_path / "models")


def test_what_was_seen_in_training_is_kept(converter, conversion_set):
    frame = conversion_set.frame()
    assert converter.manifest["ranges"] == {"days_since_last_fact": {"lower": 1.0, "upper": 12.0, "missing": False}}
    assert frame["days_since_last_fact"].max() == 5
    assert "grades" not in converter.manifest


def test_another_weight_is_another_version(conversion, conversion_set, converter, tmp_path):
    for other in (None, RowWeight(column="days_since_last_fact", at_least=3)):
        changed = replace(conversion, row_weight=other)
        assert fingerprint(changed) != fingerprint(conversion)
        assert train(changed, conversion_set, tmp_path).version != converter.version


def test_typical_values_are_those_of_the_rows(converter, conversion_set):
    frame = conversion_set.frame()
    assert converter.manifest["typical"] == {
        "always_missing": None,
        "always_one": 1.0,
        "calls_count_7d": frame["calls_count_7d"].median(),
        "days_since_last_fact": frame["days_since_last_fact"].median(),
        "noise_days": pytest.approx(frame["noise_days"].median()),
        "source_channel": frame["source_channel"].mode()[0],
    }


def test_stored_predictions_are_those_of_the_published_pipeline(converter):
    stored = pd.read_parquet(converter.directory / PREDICTIONS)
    assert 100 <= len(stored) <= 200
    predicted = predict(converter.pipeline, model_input(stored, converter.features), converter.task)
    np.testing.assert_allclose(predicted[:, 0], stored["probability_converted"], rtol=0, atol=1e-12)


def test_success_weighs_in_what_is_published(frame, next_action, recommender, tmp_path):
    frozen = freeze(frame.drop(columns="converted"), next_action, tmp_path / "sets", CLOCK)
    even = train(replace(next_action, success_weight=1.0), frozen, tmp_path / "models")
    assert evaluate(even).census is None, "none was frozen"
    weighted, plain = (pd.read_parquet(each.directory / PREDICTIONS) for each in (recommender, even))
    assert not np.allclose(weighted["probability_no_action"], plain["probability_no_action"])


def test_a_training_set_of_another_model_is_refused(next_action, conversion, conversion_set, tmp_path):
    with pytest.raises(ValueError, match="'next_best_action' over 7 days, found 'conversion' over 30 days"):
        train(next_action, conversion_set, tmp_path)
    with pytest.raises(ValueError, match="over 60 days, found 'conversion' over 30"):
        train(conversion.with_horizon(60), conversion_set, tmp_path)


@pytest.mark.parametrize("name", [PIPELINE, EVALUATION, HELD_OUT, PREDICTIONS])
def test_a_changed_file_is_refused(copied, name):
    with (copied / name).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ArtifactMismatchError, match=rf"{name}: expected SHA-256"):
        load(copied)


def change_manifest(directory, **changes):
    path = directory / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_other_libraries_are_accepted_if_they_predict_the_same(copied):
    change_manifest(copied, libraries={"scikit-learn": "1.0"})
    assert load(copied).manifest["libraries"] == {"scikit-learn": "1.0"}


def test_other_libraries_are_refused_if_they_predict_otherwise(copied):
    stored = pd.read_parquet(copied / PREDICTIONS)
    stored.loc[0, "probability_converted"] += 1e-6
    stored.to_parquet(copied / PREDICTIONS)
    files = {name: sha256(copied / name) for name in (PIPELINE, EVALUATION, HELD_OUT, PREDICTIONS)}
    change_manifest(copied, files=files)
    load(copied)  # with the libraries of its training, the SHA-256 is all that is asked
    change_manifest(copied, libraries={"scikit-learn": "1.0"})
    with pytest.raises(ArtifactMismatchError, match=r"'1.0'.*found a difference of 1e-06; train a new version"):
        load(copied)


def test_another_recipe_is_accepted_if_it_predicts_the_same(copied):
    change_manifest(copied, recipe=0)
    assert load(copied).manifest["recipe"] == 0


def test_another_recipe_is_refused_if_it_cannot_read_the_pipeline(copied):
    """As a clipper of an earlier recipe lacked what a later one reads."""
    pipeline = joblib.load(copied / PIPELINE)
    del pipeline.named_steps["columns"].named_transformers_["numbers"].levels_
    joblib.dump(pipeline, copied / PIPELINE)
    files = {name: sha256(copied / name) for name in (PIPELINE, EVALUATION, HELD_OUT, PREDICTIONS)}
    change_manifest(copied, files=files, recipe=0)
    with pytest.raises(ArtifactMismatchError, match=r"recipe 0.*predicting failed with .*levels_.*train a new version"):
        load(copied)


def test_other_libraries_are_refused_if_they_cannot_read_the_pipeline(copied):
    (copied / PIPELINE).write_bytes(b"of another age")
    files = {name: sha256(copied / name) for name in (PIPELINE, EVALUATION, HELD_OUT, PREDICTIONS)}
    change_manifest(copied, files=files, libraries={"scikit-learn": "1.0"})
    with pytest.raises(ArtifactMismatchError, match=r"predicting failed with .*; train a new version"):
        load(copied)


def test_library_versions_are_those_that_predict():
    assert set(candidates.library_versions()) == {"python", "scikit-learn", "numpy", "pandas", "joblib"}
