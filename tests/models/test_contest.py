"""Of several declared estimators the one that is better beyond noise is measured and published."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.declaring.declaration import ModelDeclaration
from models.declaring.entity import DeclarationError
from models.evaluation.records import Contestant
from models.learning.pipelines import fingerprint
from models.training.contest import decide_contest
from models.training.training import train
from models.training.training_set import TrainingSet
from models.versions.candidate import evaluate
from models.versions.card import model_card
from tests.models.conftest import small_trees


def stump() -> object:
    """Return an estimator that learns next to nothing."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=1, max_leaf_nodes=2, learning_rate=0.01, early_stopping=False)


def test_the_better_one_is_measured_and_published_and_the_card_shows_both(
    conversion: ModelDeclaration, conversion_set: TrainingSet, tmp_path
) -> None:
    declared = replace(conversion, estimator=stump, estimators={"trees": small_trees})

    version = train(declared, conversion_set, tmp_path)

    contest = evaluate(version).contest
    assert [(each.name, each.chosen) for each in contest] == [
        ("HistGradientBoostingClassifier", False), ("trees", True),
    ]  # fmt: skip
    assert contest[1].loss < contest[0].loss
    assert contest[1].over_first_at_most < 0
    # of the training side alone
    assert contest[0].rows + contest[0].learnt_rows <= version.manifest["split"]["train_rows"]
    assert version.pipeline.named_steps["estimator"].max_iter == 30
    alone = train(conversion, conversion_set, tmp_path / "alone")
    assert evaluate(alone).metrics == evaluate(version).metrics
    assert evaluate(alone).contest == ()
    card = model_card(declared, version, evaluate(version), ())
    assert "## Estimators" in card.text
    assert "| trees |" in card.text


def test_the_first_stays_where_another_is_no_better(
    conversion: ModelDeclaration, conversion_set: TrainingSet, tmp_path
) -> None:
    declared = replace(conversion, estimators={"stump": stump})
    version = train(declared, conversion_set, tmp_path)
    assert [each.name for each in evaluate(version).contest if each.chosen] == ["HistGradientBoostingClassifier"]
    assert version.pipeline.named_steps["estimator"].max_iter == 30


@pytest.mark.parametrize(("upper", "chosen"), [(-0.01, "b"), (0.01, "a")])
def test_it_must_be_better_beyond_noise(upper: float, chosen: str) -> None:
    first = Contestant(name="a", learnt_rows=9, rows=9, loss=0.5, over_first=0.0, over_first_at_most=0.0)
    other = replace(first, name="b", loss=0.4, over_first=-0.1, over_first_at_most=upper)
    assert decide_contest([first, other]) == chosen


def test_all_estimators_make_the_version(conversion: ModelDeclaration) -> None:
    other = replace(conversion, estimators={"stump": stump})
    assert fingerprint(other) != fingerprint(conversion)
    assert fingerprint(other) != fingerprint(replace(conversion, estimators={"stump": small_trees}))


def test_names_must_differ(conversion: ModelDeclaration, conversion_set: TrainingSet, tmp_path) -> None:
    declared = replace(conversion, estimators={"HistGradientBoostingClassifier": stump})
    with pytest.raises(DeclarationError, match="expected estimators of other names"):
        train(declared, conversion_set, tmp_path)
