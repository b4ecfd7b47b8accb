"""No step of a training knows what came after it: that is changed, and whatever was found before may not move.

A model is trained on a history, and again on the same history with another ending. What was found is of six kinds,
and each may know the following, besides the kinds before it that it is made of:

=============  =====================================================================================================
learnt         the rows whose labels had matured at the cut, and the successes before the cut: the sides of the split,
               weights, baseline, all pipelines but the published one, cross-validation, scaling
rows asked     the features of the held-out rows: their probabilities, and how many count as predicted
rows judged    the outcomes of the held-out rows: all measures of them
census asked   the features of the census: what is expected of it, and the grades
census judged  the outcomes of the census: how far it departs from what was expected
published      all rows and successes up to the clock, and nothing of the census: the pipeline that scores, typical
               values, ranges
=============  =====================================================================================================
"""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from models.declared.registry import DECLARATIONS
from models.evaluation import assessment, census, held_out, validation
from models.learning import frames, splitting
from models.learning.fitting import predict
from models.learning.frames import model_input
from models.training import training, trial
from models.training.training import train
from models.training.training_set import freeze
from models.training.trial import try_horizon
from models.versions.candidate import PREDICTIONS, evaluate
from tests.models.later import CLOCK, History, history, with_another_census, with_other_outcomes, with_other_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from models.versions.candidate import Candidate

LEARNT, ROWS_ASKED, ROWS_JUDGED, CENSUS_ASKED, CENSUS_JUDGED, PUBLISHED = (
    "learnt", "rows asked", "rows judged", "census asked", "census judged", "published",
)  # fmt: skip

HELD = {
    with_other_rows: (LEARNT, CENSUS_ASKED, CENSUS_JUDGED),
    with_other_outcomes: (LEARNT, ROWS_ASKED, CENSUS_ASKED),
    with_another_census: (LEARNT, ROWS_ASKED, ROWS_JUDGED, PUBLISHED),
}
"""What may not move, by what is changed. Everything else must, or the change has not reached it."""


@dataclass(frozen=True)
class Fitted:
    """A pipeline and what it was fitted on."""

    pipeline: Pipeline
    features: pd.DataFrame
    label: pd.Series
    weights: np.ndarray


def figures(world: History, base: History, folder: Path, *, tried: bool = True) -> dict[str, dict[str, Any]]:
    """Train on a world, and return by kind and name what was found.

    Parameters
    ----------
    world : History
    base : History
        The measured pipeline and the linear model are asked about some of its rows.
    folder : Path
    tried : bool
        Whether the horizon is tried as well (`models.training.trial`).
    """
    fits: list[Fitted] = []
    plain = Pipeline.fit

    def recorded(self: Pipeline, features: pd.DataFrame, label: pd.Series, **weights: np.ndarray) -> Pipeline:
        fits.append(Fitted(self, features, label, weights["estimator__sample_weight"]))
        return plain(self, features, label, **weights)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pipeline, "fit", recorded)
        # every digit is held
        patch.setattr("models.evaluation.records.DECIMALS", 17)
        # intervals, importances and times are not what is held here
        for module in (assessment, census, held_out):
            patch.setattr(module, "RESAMPLES", 20)
        patch.setattr(validation, "SHUFFLED_ROWS", 50)
        patch.setattr(training, "TIMED_PREDICTIONS", 1)
        frozen = freeze(world.rows, world.declaration, folder / "sets", CLOCK, world.census)
        version = train(world.declaration, frozen, folder / "versions")
        if tried:
            try_horizon(world.declaration, world.rows, CLOCK, lambda clocks: world.census)
    found = _measured(version)
    # in the order in which pipelines are fitted
    names = [
        "measured pipeline",
        *(f"fold {number + 1}" for number in range(validation.FOLDS)),
        "linear model",
        *(f"learning curve at {share:g}" for share in validation.CURVE_SHARES),
        "published pipeline",
        "trial",
    ]
    asked = model_input(base.rows.iloc[::10], frozen.features)
    for number, each in enumerate(fits):
        name = names[number] if number < len(names) else f"pipeline {number + 1}"
        found[PUBLISHED if name == "published pipeline" else LEARNT] |= {
            f"{name}: rows": (of_frame(each.features), each.label.tolist()),
            f"{name}: weights": list(each.weights),
            **{f"{name}: {part}": joblib.hash(fitted) for part, fitted in each.pipeline.named_steps.items()},
        }
        if name in ("measured pipeline", "linear model"):
            found[LEARNT][f"{name}: probabilities"] = predict(each.pipeline, asked, world.declaration.task).tolist()
    return found


def of_frame(frame: pd.DataFrame) -> tuple[list[str], bytes]:
    """Return what is the same of two frames if they have the same columns and values."""
    return list(frame.columns), pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes()


def _measured(version: Candidate) -> dict[str, dict[str, Any]]:
    """Return what the files of a version say."""
    manifest, evaluation = version.manifest, evaluate(version)
    rows_judged = {name: value for name, value in asdict(evaluation).items() if name not in ("version", "census")}
    of_census = asdict(evaluation.census)
    calibration, validated = evaluation.calibration, evaluation.validation
    asked = version.held_out().drop(columns="truth")
    stored = pd.read_parquet(version.directory / PREDICTIONS)
    confusion = np.array(evaluation.confusion.rows)
    return {
        LEARNT: {
            "features": manifest["features"],
            "cut": [manifest["split"][name] for name in ("cut", "train_rows", "train_entities", "test_entities")],
            "baseline": manifest["baseline"],
            "cross-validation": (validated.cross_validation, validated.note),
            "learning curve": [(point.rows, point.entities) for point in validated.learning_curve],
            "scaling": (calibration.scaling, calibration.rows),
            "decision to scale": (calibration.applied, calibration.reason),
            "rows of the linear model": evaluation.linear_rows,
        },
        ROWS_ASKED: {
            "held-out probabilities": of_frame(asked),
            # it decides how many rows count as predicted
            "threshold": confusion.sum(axis=0).tolist(),
            "bins": [
                [(each.outcome, each.lower, each.n, each.mean_predicted) for each in bins if each.mean_predicted]
                for bins in (calibration.bins_before, calibration.bins_after)
            ],
            "segments": [(each.column, each.value, each.rows, each.entities) for each in evaluation.segments],
        },
        ROWS_JUDGED: rows_judged,
        CENSUS_ASKED: {
            "clocks": of_census["clocks"],
            "grades": of_census["grades"],
            "expected": [total["expected"] for total in of_census["totals"]],
            "expected value": of_census["value_expected"],
            "bands": [
                (each["column"], each["band"], each["rows"], [total["expected"] for total in each["totals"]])
                for each in of_census["slices"]
            ],
        },
        CENSUS_JUDGED: of_census,
        PUBLISHED: {
            "typical": manifest["typical"],
            "ranges": manifest["ranges"],
            "stored predictions": of_frame(stored),
        },
    }


def moved(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]], kind: str) -> list[str]:
    """Name the figures of a kind that are not the same any more, or are there only once."""
    names = [*before[kind], *(name for name in after[kind] if name not in before[kind])]
    return [name for name in names if before[kind].get(name) != after[kind].get(name)]


# the histories of `tests.models.later` have outcomes that are classes
@pytest.fixture(scope="module", params=["conversion", "next_best_action"])
def before(request, tmp_path_factory) -> tuple[History, dict[str, dict[str, Any]]]:
    base = history(DECLARATIONS[request.param])
    return base, figures(base, base, tmp_path_factory.mktemp("before"))


@pytest.mark.parametrize("change", list(HELD), ids=lambda change: change.__name__)
def test_what_was_measured_before_does_not_know_what_came_after(before, change, tmp_path):
    base, known = before
    after = figures(change(base), base, tmp_path)
    assert [f"{kind}: {name}" for kind in HELD[change] for name in moved(known, after, kind)] == []
    still = [kind for kind in known if kind not in HELD[change] and not moved(known, after, kind)]
    assert still == []


FIT = "pipeline = fit(declaration, train.features, train.label, train.weights)"
AS_NUMBER = 'columns[name] = pd.Series(column.to_numpy(dtype="float64", na_value=float("nan")), index=frame.index)'
CENSUS = "census_rows(declaration, training_set.census(), training_set.features)"


@dataclass(frozen=True, kw_only=True)
class Leak:
    """A step that knows what it may not.

    Attributes
    ----------
    step : callable
    code : str
        A piece of its source that occurs once.
    instead : str
        What stands there in its place.
    change : callable
        A change of what the step may not know.
    moves : str
        A figure that this change moves.
    model : str
    """

    step: Callable[..., Any]
    code: str
    instead: str
    change: Callable[[History], History]
    moves: str
    model: str = "conversion"

    def plant(self, patch: pytest.MonkeyPatch) -> None:
        """Let the step run with the leak, wherever it is called from."""
        source = inspect.getsource(self.step)
        assert source.count(self.code) == 1, f"{self.step.__name__} holds {source.count(self.code)} times {self.code!r}"
        before, after = source.split(self.code)
        line = before.rpartition("\n")[2]
        indent = line[: len(line) - len(line.lstrip())]
        leaking = before + self.instead.replace("\n", f"\n{indent}") + after
        scope = dict(self.step.__globals__)
        exec(f"from __future__ import annotations\n{leaking}", scope)
        patch.setattr(self.step, "__code__", scope[self.step.__name__].__code__)


def of_all_rows(*lines: str, model: str = "conversion") -> Leak:
    """Return a training that treats features or labels by what it finds in the rows of both sides."""
    code = "features = model_input(frame, training_set.features)"
    numbers = "numbers = features.select_dtypes('number')"
    return Leak(
        step=training.train,
        code=code,
        instead="\n".join((code, numbers, *lines)),
        change=with_other_rows,
        moves="measured pipeline: rows",
        model=model,
    )


def fitted_again(part: str) -> Leak:
    """Return an assessment that fits a part of the measured pipeline again, on the rows of both sides."""
    lines = (
        FIT,
        "import pandas as pd",
        f"part = pipeline.named_steps['columns'].named_transformers_[{part!r}]",
        "part.fit(pd.concat([train.features, test.features])[part.feature_names_in_])",
    )
    return Leak(
        step=assessment.assess,
        code=FIT,
        instead="\n".join(lines),
        change=with_other_rows,
        moves="measured pipeline: columns",
    )


LEAKS = {
    # features and labels
    "imputation of all rows": of_all_rows("features = features.fillna(numbers.median())"),
    "imputation of all rows when they are frozen": Leak(
        step=frames.model_input,
        code=AS_NUMBER,
        instead=f"{AS_NUMBER}\ncolumns[name] = columns[name].fillna(columns[name].mean())",
        change=with_other_rows,
        moves="measured pipeline: rows",
    ),
    "scaling of all rows": of_all_rows("features[numbers.columns] = (numbers - numbers.mean()) / numbers.std()"),
    "outliers of all rows": of_all_rows(
        "features[numbers.columns] = numbers.clip(upper=numbers.quantile(0.9), axis=1)"
    ),
    "rare categories of all rows": of_all_rows(
        "source = features['lead_source']",
        "features['lead_source'] = source.where(source.map(source.value_counts()) >= 30, 'rare')",
    ),
    "columns that are mostly empty in all rows": of_all_rows(
        "features[features.columns[features.isna().mean() > 0.5]] = 0.0"
    ),
    "features chosen by all outcomes": of_all_rows(
        "told = numbers.loc[:, numbers.std() > 0].corrwith(label).abs().rank(ascending=False)",
        "features[told.index[told > 3]] = 0.0",
    ),
    "categories as their rate in all outcomes": of_all_rows(
        "features['property_value'] = label.groupby(features['lead_source']).transform('mean')"
    ),
    "classes that are rare in all outcomes": of_all_rows(
        "label = label.where(label.map(label.value_counts(normalize=True)) > 0.17, 'no_action')",
        model="next_best_action",
    ),
    "the rep of today as a feature": of_all_rows("features['lead_source'] = frame['assigned_to'].astype(object)"),
    # sides, weights and baseline
    "labels that matured after the first clock of the census": Leak(
        step=splitting.temporal_split,
        code="(frame[AS_OF] + pd.Timedelta(days=declaration.horizon_days) <= cut)",
        instead="(frame[AS_OF] <= cut)",
        change=with_other_outcomes,
        moves="expected",
    ),
    "weights by successes up to the clock": Leak(
        step=training.train,
        code="weights=sample_weights(frame, declaration, sides.cut)",
        instead="weights=sample_weights(frame, declaration, clock)",
        change=with_other_outcomes,
        moves="measured pipeline: weights",
        model="next_best_action",
    ),
    "weights by any success": Leak(
        step=splitting.sample_weights,
        code="(frame[SUCCEEDED_AT] < cut)",
        instead="frame[SUCCEEDED_AT].notna()",
        change=with_other_outcomes,
        moves="measured pipeline: weights",
        model="next_best_action",
    ),
    "weights by rank among all rows": Leak(
        step=splitting.row_weights,
        code='frame[weight.column].to_numpy(dtype="float64")',
        instead="frame[weight.column].rank().to_numpy()",
        change=with_other_rows,
        moves="measured pipeline: weights",
    ),
    "baseline of all rows": Leak(
        step=training.train,
        code="task.baseline(label[sides.train])",
        instead="task.baseline(label)",
        change=with_other_rows,
        moves="baseline",
    ),
    # the measured pipeline
    "a fit on held-out rows": Leak(
        step=assessment.assess,
        code=FIT,
        instead="pipeline = fit(declaration, test.features, test.label, test.weights)",
        change=with_other_outcomes,
        moves="held-out probabilities",
    ),
    "clipping of held-out rows": fitted_again("numbers"),
    "vocabulary of held-out rows": fitted_again("text"),
    "trees counted by held-out outcomes": Leak(
        step=assessment.assess,
        code=FIT,
        instead="\n".join(
            (
                FIT,
                "trees, loss = pipeline.named_steps['estimator'], {}",
                "grown = trees._predictors",
                "for trees._predictors in (grown[:1], grown):",
                "    found = predict(pipeline, test.features, task)[:, 0]",
                "    loss[((found - test.label) ** 2).mean()] = trees._predictors",
                "trees._predictors = loss[min(loss)]",
            )
        ),
        change=with_other_outcomes,
        moves="measured pipeline: estimator",
    ),
    # what is learnt from folds and parts of the training rows
    "cross-validation of held-out rows": Leak(
        step=assessment.assess,
        code="cross_validated = cross_validate(declaration, train)",
        instead="cross_validated = cross_validate(declaration, test)",
        change=with_other_rows,
        moves="cross-validation",
    ),
    "calibration on held-out rows": Leak(
        step=assessment.assess,
        code="cross_validation, out_of_fold, folds, stands_for = cross_validated",
        instead="\n".join(
            (
                "cross_validation, out_of_fold = cross_validated[0], test.predicted(unscaled_values, task)",
                "folds, stands_for = test.entities % FOLDS, test.stands_for",
            )
        ),
        change=with_other_outcomes,
        moves="scaling",
    ),
    "calibration decided on held-out rows": Leak(
        step=assessment.assess,
        code="decision = decide_calibration(evidence)",
        instead="\n".join(
            (
                "scaled_values = evidence.scaling.apply(unscaled_values)",
                "off = [abs(each.mean() - test.label.mean()) for each in (scaled_values, unscaled_values)]",
                "decision = CalibrationDecision(applied=bool(off[0] < off[1]), reason=f'off by {off}')",
            )
        ),
        change=with_other_outcomes,
        moves="decision to scale",
    ),
    "imputation of the linear model by held-out rows": Leak(
        step=assessment._linear,
        code="with threads(1):",
        instead=("sample.features.fillna(test.features.median(numeric_only=True), inplace=True)\nwith threads(1):"),
        change=with_other_rows,
        moves="linear model: rows",
    ),
    "a learning curve from held-out rows": Leak(
        step=validation.learning_curve,
        code="sampled = train.rows(some_rows(len(train), SAMPLED_ROWS, declaration.seed))",
        instead="sampled = test",
        change=with_other_rows,
        moves="learning curve at 0.5: rows",
    ),
    "a threshold from the rows that it judges": Leak(
        step=held_out.measure_held_out,
        code="[*map(float, held_out.baseline.predicted[0])]",
        instead="[float(model.truth.mean())]",
        change=with_other_outcomes,
        moves="threshold",
    ),
    # the census
    "a fit on the census": Leak(
        step=assessment.assess,
        code="expected = predict(pipeline, rows.features, task)",
        instead=(
            "of_census = fit(declaration, rows.features, rows.label, rows.weights)\n"
            "expected = predict(of_census, rows.features, task)"
        ),
        change=with_other_outcomes,
        moves="expected",
    ),
    "expectations that are scaled to what happened": Leak(
        step=census.measure_census,
        code="task.worth(predictions, value)",
        instead="task.worth(replace(predictions, predicted=predictions.predicted * predictions.truth.mean()), value)",
        change=with_other_outcomes,
        moves="expected value",
    ),
    "grades by what became of the census": Leak(
        step=census.measure_census,
        code="grade_bounds(declaration, predicted)",
        instead="grade_bounds(declaration, predicted[predictions.truth == 1])",
        change=with_other_outcomes,
        moves="grades",
    ),
    "grades by held-out rows": Leak(
        step=assessment.assess,
        code="measured_census = measure_census(declaration, of_census, columns)",
        instead="\n".join(
            (
                "measured_census = measure_census(declaration, of_census, columns)",
                "measured_census.grades['A'] = float(np.quantile(published, 0.9))",
            )
        ),
        change=with_other_rows,
        moves="grades",
    ),
    # what is published
    "a published fit that learns from the census": Leak(
        step=training.train,
        code="fit(chosen, features, label, sample_weights(frame, declaration, clock))",
        instead=f"(lambda also: fit(declaration, also.features, also.label, also.weights))({CENSUS})",
        change=with_another_census,
        moves="published pipeline: rows",
    ),
    "ranges of the census": Leak(
        step=training.train,
        code="learnt_ranges(features, rows.entities, ",
        instead=f"learnt_ranges({CENSUS}.features, {CENSUS}.entities, ",
        change=with_another_census,
        moves="ranges",
    ),
    "typical values of the census": Leak(
        step=training.train,
        code="_typical(features[name], kind)",
        instead=f"_typical({CENSUS}.features[name], kind)",
        change=with_another_census,
        moves="typical",
    ),
    # the trial of a horizon
    "a trial whose weights know successes up to the clock": Leak(
        step=trial.try_horizon,
        code="weights=sample_weights(frame, declaration, sides.cut)",
        instead="weights=sample_weights(frame, declaration, clock)",
        change=with_other_outcomes,
        moves="trial: weights",
        model="next_best_action",
    ),
    "a trial that learns from labels that matured after the cut": Leak(
        step=trial.try_horizon,
        code="rows.rows(sides.train)",
        instead="rows.rows(~sides.test)",
        change=with_other_outcomes,
        moves="trial: rows",
    ),
}


@pytest.mark.parametrize("leaks", list(LEAKS))
def test_a_step_that_knows_what_came_after_is_found(leaks, tmp_path, monkeypatch):
    leak = LEAKS[leaks]
    base = history(replace(DECLARATIONS[leak.model], estimator=few_trees))
    leak.plant(monkeypatch)
    # fewer folds and points of the curve say the same sooner
    monkeypatch.setattr(validation, "FOLDS", 2)
    monkeypatch.setattr(validation, "CURVE_SHARES", (0.5,))
    known, after = (
        figures(world, base, tmp_path / name, tried=leak.step is trial.try_horizon)
        for name, world in (("before", base), ("after", leak.change(base)))
    )
    assert leak.moves in [name for kind in HELD[leak.change] for name in moved(known, after, kind)]


def few_trees() -> object:
    """Return an estimator that is fitted in a moment."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=5, max_leaf_nodes=5, early_stopping=False)
