"""Costs of errors: whether they weight the classes, which threshold is used, and what the choices cost.

The evidence for both decisions is measured on validation rows inside the training side, and pure functions decide. On
held-out rows and on the census the costs are only measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from models.declaring.declaration import ModelDeclaration
from models.evaluation.calibration import COMPARABLE, scaled_by_others
from models.evaluation.census import is_off, totals
from models.evaluation.held_out import INTERVAL_ROWS, RESAMPLES, figure
from models.evaluation.records import CostsOfErrors, Figure, ThresholdTried, Way, WeightsTried
from models.evaluation.validation import FOLDS, some_rows
from models.pickled.scaling import Scaling
from models.tasks.classification import Classification
from models.tasks.measures import means, resampled
from models.tasks.task import Choice, Predictions, Task

if TYPE_CHECKING:
    import numpy as np

DIGITS = 6
"""Decimals of a threshold that was chosen on rows."""

THIS = "this version"
"""The name, for people, of the way in which a version chooses."""

SAME = 1e-9
"""Costs that differ by less than this share of the costs of all errors count as equal."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Validation rows inside the training side, with their predictions after learning with or without class weights.

    Attributes
    ----------
    predictions : Predictions
    stands_for : ndarray of float, shape (n_rows,)
        How much of a census each row stands for: the weight of a row for costs and scalings.
    weights : WeightsTried
    """

    predictions: Predictions
    stands_for: np.ndarray
    weights: WeightsTried


def with_costs(task: Task) -> Classification | None:
    """Return the task if it declares costs of errors, else None."""
    return task if isinstance(task, Classification) and task.costs is not None else None


def cost_of(task: Classification, predictions: Predictions, choice: Choice) -> np.ndarray:
    """Return the cost of the error of each row under a choice: shape (n_rows,)."""
    cost: np.ndarray = task.cost_matrix[predictions.truth, task.choose(predictions.predicted, choice)]
    return cost


def try_weights(
    declaration: ModelDeclaration,
    without: Predictions,
    with_weights: Predictions,
    stands_for: np.ndarray,
    *,
    learnt_rows: int,
    learnt_share: float,
) -> WeightsTried:
    """Measure predictions of the same rows after learning without and with weights of the classes.

    Both are scaled by the scaling of the other folds, so that the weights get no credit for what a scaling alone would
    save. Both choose by the costs alone, because a threshold chosen on the same rows would flatter.

    Parameters
    ----------
    declaration : ModelDeclaration
        Its task declares costs.
    without, with_weights : Predictions
    stands_for : ndarray of float, shape (n_rows,)
    learnt_rows : int
    learnt_share : float
        As in `WeightsTried`.
    """
    import numpy as np

    task = with_costs(declaration.task)
    if task is None:
        raise ValueError(f"model {declaration.name!r} declares no costs of errors")
    fold = folds(without.group, declaration.seed)
    scaled = [scaled_by_others(each, fold, stands_for) for each in (without, with_weights)]
    costs = [cost_of(task, each, task.choice()) * stands_for for each in scaled]
    draws = resampled(without.groups, RESAMPLES, declaration.seed)
    cost_by_draw = means(without, costs[1] - costs[0], draws) / means(without, stands_for, draws)
    outcomes_off = [
        {each.outcome for each in totals(predictions) if is_off(each, declaration.max_census_off)}
        for predictions in scaled
    ]
    sums = [float(each.sum() / stands_for.sum()) for each in costs]
    trial = WeightsTried(
        weights={str(name): weight for name, weight in task.class_weights().items()},
        learnt_rows=learnt_rows,
        rows=len(without),
        without=sums[0],
        with_weights=sums[1],
        costs_more=sums[1] - sums[0],
        costs_more_at_most=float(np.quantile(cost_by_draw, 0.975)),
        skill_lost=float((scaled[1].losses() - scaled[0].losses()).mean()) / task.trivial_loss(without),
        off=tuple(sorted(outcomes_off[1] - outcomes_off[0])),
        learnt_share=learnt_share,
        scaling=task.fit_scaling(with_weights, stands_for),
        applied=False,
        reason="",
    )
    applied, reason = decide_weights(trial, declaration.max_skill_loss)
    return replace(trial, applied=applied, reason=reason)


def decide_weights(tried: WeightsTried, max_skill_loss: float) -> tuple[bool, str]:
    """Decide whether classes are weighted: only if that saves costs beyond noise and keeps the probabilities good.

    Probabilities are published beside the choices. A fit with better choices and worse probabilities would harm all
    other readers, so weights may lose no more skill than a candidate may against the champion. They need a scaling, and
    it must come from a model that learnt from enough rows (as in `models.evaluation.calibration.decide_calibration`).

    Parameters
    ----------
    tried : WeightsTried
    max_skill_loss : float
        `ModelDeclaration.max_skill_loss`.
    """
    figures = (
        f"weights change the cost of a row by {tried.costs_more:+.4g} (at most {tried.costs_more_at_most:+.4g}) and "
        f"the skill by {-tried.skill_lost:+.4f}"
    )
    if tried.costs_more_at_most >= 0:
        return False, f"{figures}: no saving beyond noise"
    if tried.skill_lost > max_skill_loss:
        return False, f"{figures}: the probabilities would be worse"
    if tried.off:
        return False, f"{figures}, and the expected totals would be off for {', '.join(tried.off)}"
    if tried.scaling is None or tried.scaling.slope <= 0:
        return False, f"{figures}, but no scaling corrects the probabilities"
    if tried.learnt_share < COMPARABLE:
        return False, f"{figures}, by a model that learnt from {tried.learnt_share:.0%} of the training rows only"
    return True, figures


def folds(entities: np.ndarray, seed: int) -> np.ndarray:
    """Return the fold of each row; all rows of an entity, which has a number from 0, are in one fold."""
    import numpy as np

    return (np.random.default_rng(seed).permutation(int(entities.max()) + 1) % FOLDS)[entities]


def cheapest_threshold(task: Classification, predictions: Predictions, stands_for: np.ndarray) -> float:
    """Return the threshold at which the errors of the rows cost least.

    It tries the threshold of the costs and the midpoints between neighbouring predictions, also below the lowest and
    above the highest one. If several are equally cheap, it returns the one nearest to the threshold of the costs; if
    two are equally near, the lower.

    Notes
    -----
    scikit-learn's `TunedThresholdClassifierCV` fits the estimator itself, on folds of rows, and tries a grid; a test
    compares both.
    """
    import numpy as np

    of_costs = task.threshold()
    if of_costs is None:
        raise ValueError(f"a {task.name} task has no threshold")
    wasted, missed = task.cost_matrix[[0, 1], [1, 0]]
    p, happened = predictions.predicted[:, 0], predictions.truth == 1
    order = np.argsort(p, kind="stable")
    ordered = p[order]
    ends = np.r_[0.0, np.unique(ordered), 1.0]
    thresholds = np.unique(np.r_[of_costs, ((ends[1:] + ends[:-1]) / 2).round(DIGITS)])
    below = np.searchsorted(ordered, thresholds, side="left")
    missed_below = np.r_[0, np.cumsum((stands_for * happened)[order])][below]
    right_below = np.r_[0, np.cumsum((stands_for * ~happened)[order])][below]
    cost = missed * missed_below + wasted * (stands_for[~happened].sum() - right_below)
    everything = missed * stands_for[happened].sum() + wasted * stands_for[~happened].sum()
    cheap = thresholds[cost <= cost.min() + SAME * everything]
    # argmin takes the first of equally near ones, which is the lower
    return float(cheap[np.abs(cheap - of_costs).argmin()])


def try_threshold(
    task: Classification, rehearsal: Rehearsal | None, scaling: Scaling | None, seed: int
) -> ThresholdTried:
    """Measure what a threshold chosen on validation rows saves, on entities that it was not chosen on.

    Parameters
    ----------
    task : Classification
        A task with a threshold.
    rehearsal : Rehearsal or None
    scaling : Scaling or None
        The scaling of the published probabilities, for which the threshold is meant.
    seed : int
    """
    import numpy as np

    of_costs = task.threshold()
    if of_costs is None:
        raise ValueError(f"a {task.name} task has no threshold")
    if rehearsal is None:
        return ThresholdTried(
            of_costs=of_costs, of_rows=None, rows=0, saves=None, saves_at_least=None, threshold=of_costs,
            reason="the training side has too few rows to be split once more",
        )  # fmt: skip
    predictions, stands_for = rehearsal.predictions, rehearsal.stands_for
    if scaling is not None:
        predictions = replace(predictions, predicted=scaling.apply(predictions.predicted))
    cost = cost_of(task, predictions, task.choice())
    cost_of_chosen = np.empty_like(cost)
    fold = folds(predictions.group, seed)
    for number in np.unique(fold):
        inside = fold == number
        chosen = cheapest_threshold(task, predictions.rows(~inside), stands_for[~inside])
        cost_of_chosen[inside] = cost_of(task, predictions.rows(inside), task.choice(chosen))
    saving_by_row = (cost - cost_of_chosen) * stands_for
    draws = resampled(predictions.groups, RESAMPLES, seed)
    saving_by_draw = means(predictions, saving_by_row, draws) / means(predictions, stands_for, draws)
    trial = ThresholdTried(
        of_costs=of_costs,
        of_rows=cheapest_threshold(task, predictions, stands_for),
        rows=len(predictions),
        saves=float(saving_by_row.sum() / stands_for.sum()),
        saves_at_least=float(np.quantile(saving_by_draw, 0.025)),
        threshold=of_costs,
        reason="",
    )
    threshold, reason = decide_threshold(trial, rehearsal.weights.learnt_share)
    return replace(trial, threshold=threshold, reason=reason)


def decide_threshold(tried: ThresholdTried, learnt_share: float) -> tuple[float, str]:
    """Decide which threshold is used: that of the rows only if it saves costs beyond noise, else that of the costs.

    For true probabilities the threshold of the costs is the best. Another one is cheaper only if the probabilities near
    it are wrong; and a model of far fewer rows errs in another way than the published one (as for scalings:
    `models.evaluation.calibration.decide_calibration`).
    """
    if tried.of_rows is None or tried.saves is None or tried.saves_at_least is None:
        return tried.of_costs, tried.reason
    figures = (
        f"thresholds chosen on other entities change the cost of a row by {-tried.saves:+.4g} (at most "
        f"{-tried.saves_at_least:+.4g})"
    )
    if learnt_share < COMPARABLE:
        return tried.of_costs, f"{figures}, by a model that learnt from {learnt_share:.0%} of the training rows only"
    if tried.saves_at_least > 0:
        return tried.of_rows, figures
    return tried.of_costs, f"{figures}: not beyond noise"


def ways(task: Classification, predictions: Predictions, choice: Choice, seed: int) -> tuple[Way, ...]:
    """Measure the cost of errors per row, of a choice and of choosing each class in every row."""
    import numpy as np

    if not len(predictions):
        return ()
    matrix, all_classes = task.cost_matrix, task.of_all(predictions.predicted)
    sample = some_rows(len(predictions), INTERVAL_ROWS, seed)
    sample_rows = predictions.rows(sample)
    draws = resampled(sample_rows.groups, RESAMPLES, seed)
    n = len(predictions)
    choices = {
        THIS: task.choose(predictions.predicted, choice),
        **{name: np.full(n, number) for number, name in enumerate(task.constants)},
    }
    cost = {name: matrix[predictions.truth, picked] for name, picked in choices.items()}
    of_this = cost[THIS]
    return tuple(
        Way(
            name=name,
            shares=tuple(map(float, np.bincount(picked, minlength=len(matrix)) / n)),
            expected=float((all_classes * matrix[:, picked].T).sum() / n),
            cost=figure(float(cost[name].mean()), means(sample_rows, cost[name][sample], draws)),
            over_this=figure(
                float((cost[name] - of_this).mean()), means(sample_rows, (cost[name] - of_this)[sample], draws)
            ),
        )
        for name, picked in choices.items()
    )


def picked_well(task: Classification, predictions: Predictions, choice: Choice, seed: int) -> dict[str, Figure]:
    """Measure precision, recall and F1 of the rows that a threshold picks."""
    import numpy as np

    picked, happened = task.choose(predictions.predicted, choice) == 1, predictions.truth == 1
    counted = np.column_stack([picked & happened, picked, happened]).astype("float64")
    sample = some_rows(len(predictions), INTERVAL_ROWS, seed)
    sample_rows = predictions.rows(sample)
    draws = resampled(sample_rows.groups, RESAMPLES, seed)
    of_all = counted.mean(axis=0)[:, None]
    of_draws = np.array([means(sample_rows, counted[sample, column], draws) for column in range(3)])
    measured = {}
    for name, of in {"precision": [1], "recall": [2], "f1": [1, 2]}.items():
        # nothing is picked, or nothing happens, in some resamples
        with np.errstate(invalid="ignore", divide="ignore"):
            value, resamples = (each[0] * len(of) / each[of].sum(axis=0) for each in (of_all, of_draws))
        measured[name] = figure(float(value[0]), resamples)
    return measured


def measure_costs(
    kind: Task,
    held_out: Predictions,
    census: Predictions | None,
    rehearsal: Rehearsal | None,
    scaling: Scaling | None,
    seed: int,
) -> CostsOfErrors | None:
    """Decide on validation rows how a version chooses, and measure the costs on held-out rows and the census.

    Parameters
    ----------
    kind : Task
    held_out, census : Predictions
        The predictions that would be published.
    rehearsal : Rehearsal or None
    scaling : Scaling or None
        The scaling of the published probabilities.
    seed : int

    Returns
    -------
    CostsOfErrors or None
        None where the task declares no costs.
    """
    task = with_costs(kind)
    if task is None:
        return None
    threshold = None if task.threshold() is None else try_threshold(task, rehearsal, scaling, seed)
    choice = _choice(task, threshold)
    return CostsOfErrors(
        choices=task.choices,
        costs=tuple(tuple(map(float, line)) for line in task.cost_matrix),
        weights=None if rehearsal is None else rehearsal.weights,
        threshold=threshold,
        held_out=ways(task, held_out, choice, seed),
        census=() if census is None else ways(task, census, choice, seed),
        chosen={} if threshold is None else picked_well(task, held_out, choice, seed),
    )


def choice_of(kind: Task, costs: CostsOfErrors | None) -> Choice | None:
    """Return the way in which a version chooses, as it stores it; None without costs."""
    task = with_costs(kind)
    if task is None or costs is None:
        return None
    return _choice(task, costs.threshold)


def _choice(task: Classification, threshold: ThresholdTried | None) -> Choice:
    return task.choice(None if threshold is None else threshold.threshold)
