"""Validation: figures of a model from fits on samples of the training rows, each with the size of its sample.

Cross-validation says how much a figure depends on the sampled entities, and its out-of-fold predictions whether
probabilities can be trusted. The learning curve says whether more data would help. Shuffled features say which of them
the model uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.declaring.declaration import ModelDeclaration
from models.learning.fitting import fit, predict, predict_changed, side_by_side
from models.pickled.columns import FilledNumbers, TextColumns
from models.tasks.measures import once
from models.tasks.task import Predictions, Task

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sklearn.pipeline import Pipeline

FOLDS = 5

SAMPLED_ROWS = 10_000
"""Training rows on which folds and the learning curve are fitted, and held-out rows on which the curve is measured."""

CURVE_SHARES = (0.125, 0.25, 0.5)
"""Shares of the sampled entities that the learning curve learns from, before all training rows."""

SHUFFLED_ROWS = 1_000


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Rows with their outcomes.

    Attributes
    ----------
    features : DataFrame of shape (n_rows, n_features)
        A model input.
    label : Series of shape (n_rows,)
    weights : ndarray of float, shape (n_rows,)
        The weight of each row in learning; metrics do not use it.
    stands_for : ndarray of float, shape (n_rows,)
        How much of a census each row stands for (`models.learning.splitting.row_weights`); a scaling is fitted by it.
    entities : ndarray of int, shape (n_rows,)
        The entity of each row, numbered from 0.
    """

    features: pd.DataFrame
    label: pd.Series
    weights: np.ndarray
    stands_for: np.ndarray
    entities: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    def rows(self, chosen: np.ndarray) -> Observed:
        """Return the chosen rows, whose entities are numbered anew."""
        import numpy as np

        _, entities = np.unique(self.entities[chosen], return_inverse=True)
        return Observed(
            features=self.features[chosen],
            label=self.label[chosen],
            weights=self.weights[chosen],
            stands_for=self.stands_for[chosen],
            entities=entities,
        )

    def predicted(self, predicted: np.ndarray, task: Task) -> Predictions:
        """Return predictions of the rows, with their actual labels."""
        return Predictions(task=task, truth=task.truth(self.label), predicted=predicted, group=self.entities)


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """The primary metric by fold, of folds that share no entity.

    Attributes
    ----------
    rows, entities : int
        The sample.
    folds : tuple of float
    mean, std : float
        Over the folds; the standard deviation with n - 1.
    spread : float
        std / mean.
    """

    rows: int
    entities: int
    folds: tuple[float, ...]
    mean: float
    std: float
    spread: float


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The held-out figures after learning from so many rows: the primary metric and the loss of the task."""

    rows: int
    entities: int
    primary: float | None
    loss: float | None


@dataclass(frozen=True, kw_only=True)
class Importance:
    """By how much the loss of held-out rows rises when one feature is shuffled among them."""

    feature: str
    rise: float


def some_rows(rows: int, limit: int, seed: int) -> np.ndarray:
    """Choose at most `limit` rows at random: a few of nearly every entity.

    Rows of one entity are much alike, so a few rows of many entities tell more than all rows of a few entities, and a
    model of such a sample is nearer to the model of all rows.

    Returns
    -------
    ndarray of bool, shape (n_rows,)
    """
    import numpy as np

    chosen = np.zeros(rows, dtype=bool)
    chosen[np.random.default_rng(seed).permutation(rows)[:limit]] = True
    return chosen


def some_entities(entities: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Choose a share of the entities at random, at least one, with all their rows.

    Returns
    -------
    ndarray of bool, shape (n_rows,)
        The entities of a smaller share are among those of a larger one.
    """
    count = int(entities.max()) + 1
    return some_rows(count, max(1, int(share * count)), seed)[entities]


def cross_validate(
    declaration: ModelDeclaration, observed: Observed
) -> tuple[CrossValidation, Predictions, np.ndarray, np.ndarray] | str:
    """Cross-validate a model on folds of whole entities.

    Returns
    -------
    tuple of (CrossValidation, Predictions, ndarray of int, ndarray of float)
        The figures, the out-of-fold predictions, the fold of each row and what it stands for; or, as text, why there
        are none.
    """
    import numpy as np
    from sklearn.model_selection import GroupKFold

    sample = observed.rows(some_rows(len(observed), SAMPLED_ROWS, declaration.seed))
    entities = len(np.unique(sample.entities))
    if entities < FOLDS:
        return f"{entities} entities are too few for {FOLDS} folds"
    splitter = GroupKFold(FOLDS, shuffle=True, random_state=declaration.seed)
    folds = np.empty(len(sample), dtype="int64")
    for number, (_, test) in enumerate(splitter.split(sample.features, groups=sample.entities)):
        folds[test] = number

    lacking = [number for number in range(FOLDS) if not _learnable(sample.rows(folds != number))]
    if lacking:
        return f"{len(lacking)} of {FOLDS} folds leave one value of the label or no feature to learn from"

    def out_of_fold(number: int) -> np.ndarray:
        train, test = sample.rows(folds != number), sample.rows(folds == number)
        fitted = fit(declaration, train.features, train.label, train.weights, cores=1)
        return predict(fitted, test.features, declaration.task, cores=1)

    probability = np.empty((len(sample), len(declaration.outcomes)))
    for number, predicted in enumerate(side_by_side(out_of_fold, range(FOLDS), rows=len(sample))):
        probability[folds == number] = predicted
    predictions = sample.predicted(probability, declaration.task)
    figures = [_primary(declaration, predictions.rows(folds == number)) for number in range(FOLDS)]
    values = np.array([value for value in figures if value is not None])
    if len(values) < FOLDS:
        return f"{declaration.primary_metric} is undefined on {FOLDS - len(values)} of {FOLDS} folds"
    mean, std = float(values.mean()), float(values.std(ddof=1))
    return (
        CrossValidation(
            rows=len(sample), entities=entities, folds=tuple(map(float, values)), mean=mean, std=std, spread=std / mean
        ),
        predictions,
        folds,
        sample.stands_for,
    )


def learning_curve(
    declaration: ModelDeclaration, train: Observed, test: Observed, measured: Predictions
) -> tuple[CurvePoint, ...]:
    """Measure a model on the held-out rows after learning from parts of the training rows, and from all.

    Parameters
    ----------
    declaration : ModelDeclaration
    train, test : Observed
    measured : Predictions
        Predictions of `test` by the model that learnt from all of `train`.
    """
    import numpy as np

    sampled = train.rows(some_rows(len(train), SAMPLED_ROWS, declaration.seed))
    samples = [sampled.rows(some_entities(sampled.entities, share, declaration.seed)) for share in CURVE_SHARES]

    def point(sample: Observed) -> CurvePoint:
        if not _learnable(sample):
            return CurvePoint(rows=len(sample), entities=len(np.unique(sample.entities)), primary=None, loss=None)
        fitted = fit(declaration, sample.features, sample.label, sample.weights, cores=1)
        predicted = predict(fitted, test.features, declaration.task, cores=1)
        return _point(declaration, sample, test.predicted(predicted, declaration.task))

    return (*side_by_side(point, samples, rows=len(sampled)), _point(declaration, train, measured))


def importance(pipeline: Pipeline, observed: Observed, task: Task, seed: int) -> tuple[tuple[Importance, ...], int]:
    """Shuffle each feature among held-out rows, and measure the rise of the loss [1]_.

    Features that say the same stand in for each other, so each of them looks less important than their information is.

    Returns
    -------
    tuple of (tuple of Importance, int)
        All features, the most important first; and the number of rows.

    References
    ----------
    .. [1] L. Breiman, "Random Forests", Machine Learning 45, 2001.

    Notes
    -----
    `sklearn.inspection.permutation_importance` does the same feature by feature; here many are predicted together.
    """
    import numpy as np

    sample = observed.rows(some_rows(len(observed), SHUFFLED_ROWS, seed))
    in_order, shuffled = np.arange(len(sample)), np.random.default_rng(seed).permutation(len(sample))
    names = [str(name) for name in sample.features.columns]
    undisturbed = _loss(sample, predict(pipeline, sample.features, task), task)
    changes = ((name, in_order, shuffled) for name in names)
    predictions = predict_changed(pipeline, sample.features, sample.features, changes, task)
    rises = [
        Importance(feature=name, rise=_loss(sample, predicted, task) - undisturbed)
        for name, predicted in zip(names, predictions, strict=True)
    ]
    # equal rises (0 for every feature that the model does not use) are ordered by name
    ranked = sorted(rises, key=lambda each: (-each.rise, each.feature))
    return tuple(ranked), len(sample)


def _learnable(observed: Observed) -> bool:
    return observed.label.nunique() > 1 and bool(FilledNumbers()(observed.features) or TextColumns()(observed.features))


def _loss(observed: Observed, predicted: np.ndarray, task: Task) -> float:
    return float(observed.predicted(predicted, task).losses().mean())


def _primary(declaration: ModelDeclaration, predictions: Predictions) -> float | None:
    value = float(predictions.measured(once(predictions.groups))[declaration.primary_metric][0])
    return None if value != value else value


def _point(declaration: ModelDeclaration, learnt_from: Observed, predictions: Predictions) -> CurvePoint:
    import numpy as np

    return CurvePoint(
        rows=len(learnt_from),
        entities=len(np.unique(learnt_from.entities)),
        primary=_primary(declaration, predictions),
        loss=float(predictions.losses().mean()),
    )
