"""The model card says what was measured, in one file that the UI can show."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.evaluation.gates import gates
from models.evaluation.one_sided import OneSided
from models.evaluation.records import Segment
from models.markdown import plain
from models.versions.candidate import evaluate
from models.versions.card import CARD, model_card


@pytest.fixture(params=["converter", "recommender"])
def described(request, conversion, next_action):
    candidate = request.getfixturevalue(request.param)
    declaration = conversion if candidate.model == "conversion" else next_action
    evaluation = evaluate(candidate)
    measured = gates(declaration.gates, evaluation, {**candidate.cost(), "entities": 500.0})
    return declaration, candidate, evaluation, measured


def test_the_card_holds_every_part(described):
    declaration, candidate, evaluation, measured = described
    card = model_card(declaration, candidate, evaluation, measured)
    assert "**Read this.**" in model_card(declaration, candidate, evaluation, measured, warning="Read this.").text
    sections = [line.removeprefix("## ") for line in card.text.splitlines() if line.startswith("## ")]
    classes = ["By class"] if evaluation.classes else []
    assert sections == [
        "Data", "Census", "Hindsight", "Metrics", "Gates", *classes, "Calibration", "Lift", "Validation", "Limits"
    ]  # fmt: skip
    assert f"# {candidate.model} {candidate.version}" in card.text
    assert f"| {evaluation.primary_metric} | {evaluation.metrics[evaluation.primary_metric]:.3f} (" in card.text
    assert "| entities | 500 | ≥ 10000 | **missed** |" in card.text
    if declaration.name == "conversion":
        assert f"{evaluation.census.value_actual:,.0f} happened, with the values that are known today." in card.text
    assert "nan" not in card.text.lower().replace("schedule_appointment", "")


def test_the_card_is_one_file_for_the_ui_and_three_for_people(described, tmp_path):
    card = model_card(*described)
    embedded = card.embedded()
    assert embedded.count("](data:image/png;base64,iVBOR") == 2
    assert len(embedded) < 600_000
    card.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {CARD, *card.images}
    assert all(f"({name})" in (tmp_path / CARD).read_text() for name in card.images)


def test_what_the_data_say_is_shown_as_it_is_written(described):
    declaration, candidate, evaluation, measured = described
    said = "<img src=x onerror=run()> [x](javascript:run()) ![](card_predictions.png) | `{{ }}`"
    segment = Segment(
        column="lead_source", value=said, rows=1, entities=1, primary=None, loss=None, predicted=None, observed=None
    )
    one_sided = OneSided(
        feature="status", value=said, side="settled", having=90, others=90, expected_now=50.0, seen_now=0.0,
        expected_before=50.0, seen_before=0.0,
    )  # fmt: skip
    hostile = replace(
        evaluation,
        segments=(segment,),
        hindsight=replace(evaluation.hindsight, one_sided=(one_sided,)),
        undefined={"auc": said},
    )
    card = model_card(declaration, candidate, hostile, measured, warning=said)
    shown = plain(said)
    # in the segment, twice in what is suspected, in what is undefined and in the warning
    assert card.text.count(shown) == 5
    assert said not in card.text
    assert card.embedded().count("](data:image/png;base64,") == 2
    assert shown in card.embedded()


def test_an_equal_card_is_not_written_again(described, tmp_path):
    model_card(*described).write(tmp_path)
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    model_card(*described).write(tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times


def test_the_plots_are_of_what_was_measured(described):
    declaration, candidate, evaluation, measured = described
    card = model_card(declaration, candidate, evaluation, measured)
    other = replace(evaluation, gains=(), validation=replace(evaluation.validation, importance=()))
    changed = model_card(declaration, candidate, other, measured)
    assert all(changed.images[name] != image for name, image in card.images.items())
