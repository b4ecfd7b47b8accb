"""Evaluation: what was measured of a version on its held-out rows, beside a linear model and the trivial baseline.

All its records stand in one file, for `Evaluation` is read and written as one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from models.evaluation.hindsight import Hindsight
from models.evaluation.validation import CrossValidation, CurvePoint, Importance
from models.pickled.scaling import Scaling
from models.tasks.registry import TASKS
from models.tasks.task import Task

EVALUATION = "evaluation.json"

DECIMALS = 10
"""Figures are stored so rounded: the order of a sum, and so the number of threads, decides about later digits."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured value with the interval that holds it in 95 of 100 resamples of the entities; None: undefined."""

    value: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Held-out rows whose prediction of an outcome lies in ``[lower, upper)``; the last bin holds its upper bound."""

    outcome: str
    lower: float
    upper: float
    n: int
    mean_predicted: float
    mean_actual: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How far the predictions of held-out rows agree with what came, before and after scaling.

    Attributes
    ----------
    scaling : Scaling or None
        Fitted on out-of-fold predictions of training rows; None where there are none.
    applied : bool
        Whether the measured and the published pipeline scale.
    reason : str
    rows : int
        From which the scaling was learnt.
    error_before, error_after : Figure
        The expected calibration error (`models.tasks.measures.calibration_error`).
    bins_before, bins_after : tuple of CalibrationBin
    """

    scaling: Scaling | None
    applied: bool
    reason: str
    rows: int
    error_before: Figure
    error_after: Figure
    bins_before: tuple[CalibrationBin, ...]
    bins_after: tuple[CalibrationBin, ...]


@dataclass(frozen=True, kw_only=True)
class Segment:
    """The held-out rows with one value of a column; figures are None where there are too few rows or one class.

    `primary` is the primary metric and `loss` that of the task; `predicted` and `observed` are the mean prediction and
    the mean of what came, for a task of one outcome.
    """

    column: str
    value: str
    rows: int
    entities: int
    primary: Figure | None
    loss: Figure | None
    predicted: float | None
    observed: float | None


@dataclass(frozen=True, kw_only=True)
class Gains:
    """What is found of an outcome by looking at the rows of its highest predictions first.

    Attributes
    ----------
    outcome : str
    found : tuple of float
        The share of all its rows that is found after each of equal parts of the rows, from none of them to all.
    lift : dict of str to float
        By share of the rows: how many times more often the outcome occurs there than everywhere.
    """

    outcome: str
    found: tuple[float, ...]
    lift: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Held-out rows by what happened (one line each) and what was predicted, in the order of `labels`."""

    labels: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What fits on samples of the training rows told (`models.evaluation.validation`).

    `cross_validation` is None where there is none, and `note` says why.
    """

    cross_validation: CrossValidation | None
    note: str
    learning_curve: tuple[CurvePoint, ...]
    importance: tuple[Importance, ...]
    importance_rows: int


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """What one of several declared estimators came to on validation rows inside the training side.

    Attributes
    ----------
    name : str
    learnt_rows, rows : int
        Learnt from, and measured on.
    loss : float
        The mean loss of the task.
    over_first, over_first_at_most : float
        That less the loss of the first declared one, and the upper end of the 95 % interval of the difference.
    chosen : bool
    """

    name: str
    learnt_rows: int
    rows: int
    loss: float
    over_first: float
    over_first_at_most: float
    chosen: bool = False


@dataclass(frozen=True, kw_only=True)
class WeightsTried:
    """What weights of the classes by the costs of errors came to on validation rows inside the training side.

    Attributes
    ----------
    weights : dict of str to float
        By class, of which only the proportions count.
    learnt_rows, rows : int
        Learnt from, and measured on.
    without, with_weights : float
        The mean cost of the errors, each row weighted by what it stands for, and both scaled as entities of the other
        folds ask for.
    costs_more, costs_more_at_most : float
        The latter less the former, and the upper end of its 95 % interval.
    skill_lost : float
        By how much the loss of the task is higher with weights, as a part of that of the best constant.
    off : tuple of str
        Outcomes of which more or less is expected than happened, with weights alone.
    learnt_share : float
        Rows that were learnt from, as a share of those that the measured pipeline learns from.
    scaling : Scaling or None
        What a weighted fit is scaled by, from these rows.
    applied : bool
    reason : str
    """

    weights: dict[str, float]
    learnt_rows: int
    rows: int
    without: float
    with_weights: float
    costs_more: float
    costs_more_at_most: float
    skill_lost: float
    off: tuple[str, ...]
    learnt_share: float
    scaling: Scaling | None
    applied: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class ThresholdTried:
    """The threshold that follows from the costs, and the one that was cheapest on validation rows.

    Attributes
    ----------
    of_costs : float
    of_rows : float or None
        None where there are no such rows.
    rows : int
    saves, saves_at_least : float or None
        By how much thresholds that were chosen on other entities lower the mean cost, and the lower end of the 95 %
        interval of that.
    threshold : float
        The one that is used.
    reason : str
    """

    of_costs: float
    of_rows: float | None
    rows: int
    saves: float | None
    saves_at_least: float | None
    threshold: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class Way:
    """What a way to choose costs per row: as the predictions say, and by what happened.

    `shares` are of the rows, by what is chosen; `over_this` is the cost less that of the first way, by which the
    version chooses.
    """

    name: str
    shares: tuple[float, ...]
    expected: float
    cost: Figure
    over_this: Figure


@dataclass(frozen=True, kw_only=True)
class CostsOfErrors:
    """What follows from declared costs of errors.

    Attributes
    ----------
    choices : tuple of str
        What happens and what can be chosen, in the order of `costs`.
    costs : tuple of tuple of float
        By what happens (one line each) and what is chosen.
    weights : WeightsTried or None
        None where the training side has too few rows to be split once more.
    threshold : ThresholdTried or None
        None of a task whose classes have none of their own.
    held_out, census : tuple of Way
        That of the version first, then each class chosen everywhere. No census where there is none.
    """

    choices: tuple[str, ...]
    costs: tuple[tuple[float, ...], ...]
    weights: WeightsTried | None
    threshold: ThresholdTried | None
    held_out: tuple[Way, ...]
    census: tuple[Way, ...]


@dataclass(frozen=True, kw_only=True)
class Total:
    """What was expected of an outcome, the sum of its predictions, and what came: how often it happened, or its sum.

    `lower` and `upper` are the 95 % interval of expected less actual, over entities. `rest` is the same without the
    clock at which the two differ most; None where that is the last one.
    """

    outcome: str
    expected: float
    actual: int | float
    lower: float
    upper: float
    rest: Total | None = None


@dataclass(frozen=True, kw_only=True)
class CensusSlice:
    """The rows of a census in one band of a column; `trivial_loss` is that of the best constant on these rows."""

    column: str
    band: str
    rows: int
    entities: int
    totals: tuple[Total, ...]
    loss: float
    trivial_loss: float


@dataclass(frozen=True, kw_only=True)
class BesideRule:
    """A version and the rule beside it, on the rows of a census of which the rule says something.

    Attributes
    ----------
    rows, entities : int
    model, rule : dict of str to Figure
        The metrics of both.
    over_rule : dict of str to Figure
        By how much the model is better, on the same resamples; above 0 is better for every metric.
    """

    rows: int
    entities: int
    model: dict[str, Figure]
    rule: dict[str, Figure]
    over_rule: dict[str, Figure]

    def unbeaten(self, *metrics: str) -> str | None:
        """Return the first of some metrics in which the version is not better beyond the interval, or None."""
        lowers = ((name, self.over_rule[name].lower) for name in metrics)
        return next((name for name, lower in lowers if lower is None or not lower > 0), None)


@dataclass(frozen=True, kw_only=True)
class Census:
    """What was expected of all entities that were open at past clocks, beside what happened.

    Attributes
    ----------
    clocks : tuple of str
        Midnights, UTC.
    rows, entities : int
    metrics : dict of str to Figure
    trivial_loss : float
        Of the best constant on these rows.
    totals : tuple of Total
        One per outcome.
    value_expected, value_actual : float or None
        The values of the entities by their probability, and of those to which the outcome happened. None where no
        value is known, or the task has no such sum.
    slices : tuple of CensusSlice
        By clock, by band and by grade.
    grades : dict of str to float
        The bounds that divide these rows as declared.
    happened_to : dict of str to int
        To how many entities each outcome happened; empty of versions of an earlier state.
    beside_rule : BesideRule or None
        None where no rule is declared, or it says nothing of any row.
    """

    clocks: tuple[str, ...]
    rows: int
    entities: int
    metrics: dict[str, Figure]
    trivial_loss: float
    totals: tuple[Total, ...]
    value_expected: float | None
    value_actual: float | None
    slices: tuple[CensusSlice, ...]
    grades: dict[str, float]
    happened_to: dict[str, int] = field(default_factory=dict)
    beside_rule: BesideRule | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured of a version.

    Attributes
    ----------
    model, version, task, primary_metric : str
    n, entities : int
        Held-out rows, and whose they are.
    metrics, linear, baseline : dict of str to float or None
        For the model, for a linear model that was fitted on `linear_rows` of the training rows, and for the trivial
        model. None where a metric is undefined.
    intervals, linear_intervals, baseline_intervals : dict of str to Figure
    over_linear, over_baseline : dict of str to Figure
        By how much the model is better, on the same resamples; above 0 is better for every metric.
    interval_rows, linear_rows : int
    undefined : dict of str to str
        Why a metric is None.
    recall : dict of str to float or None
        By outcome, where classes are told apart; None where the outcome does not occur.
    classes : dict of str to dict of str to Figure
        By outcome, where a task measures each: share, precision, recall, f1, auc.
    segments : tuple of Segment
    confusion : Confusion
    gains : tuple of Gains
    calibration : Calibration
    validation : Validation
    census : Census or None
        None where there is none: of versions of an earlier recipe.
    hindsight : Hindsight or None
        None of versions of an earlier recipe.
    happened_to : dict of str to int
        As in `Census`, of the held-out rows.
    contest : tuple of Contestant
        Empty where one estimator is declared.
    costs : CostsOfErrors or None
        None where none are declared.
    """

    model: str
    version: str
    task: str
    primary_metric: str
    n: int
    entities: int
    metrics: dict[str, float | None]
    linear: dict[str, float | None]
    baseline: dict[str, float | None]
    intervals: dict[str, Figure]
    linear_intervals: dict[str, Figure]
    baseline_intervals: dict[str, Figure]
    over_linear: dict[str, Figure]
    over_baseline: dict[str, Figure]
    interval_rows: int
    linear_rows: int
    undefined: dict[str, str]
    recall: dict[str, float | None]
    classes: dict[str, dict[str, Figure]]
    segments: tuple[Segment, ...]
    confusion: Confusion
    gains: tuple[Gains, ...]
    calibration: Calibration
    validation: Validation
    census: Census | None = None
    hindsight: Hindsight | None = None
    happened_to: dict[str, int] = field(default_factory=dict)
    contest: tuple[Contestant, ...] = ()
    costs: CostsOfErrors | None = None

    @property
    def kind(self) -> type[Task]:
        """The kind of task."""
        return TASKS[self.task]

    def write(self, directory: Path) -> None:
        """Write the evaluation: the same bytes for the same figures, whatever the number of threads."""
        exact = json.dumps(asdict(self), allow_nan=False)
        rounded = json.loads(exact, parse_float=lambda digits: round(float(digits), DECIMALS))
        (directory / EVALUATION).write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
