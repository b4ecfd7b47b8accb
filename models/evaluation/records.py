"""Evaluation: the measured figures of a version, beside those of a linear model and of the trivial baseline.

All its records are in one module, because `Evaluation` is read and written as a whole.
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
"""Decimals of stored figures. Later digits depend on the order of a sum, and so on the number of threads."""


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
    """How far the predictions of held-out rows agree with actual values, before and after scaling.

    Attributes
    ----------
    scaling : Scaling or None
        Fitted on out-of-fold predictions of training rows; None without such predictions.
    applied : bool
        Whether the measured and the published pipeline scale.
    reason : str
    rows : int
        The number of rows that the scaling was fitted on.
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
    the mean actual value, for a task of one outcome.
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
    """The share of an outcome that is found by looking at the rows with its highest predictions first.

    Attributes
    ----------
    outcome : str
    found : tuple of float
        The share found after each of `models.evaluation.held_out.GAIN_STEPS` equal parts of the rows, from 0 to 1.
    lift : dict of str to float
        By share of the rows: how many times more often the outcome occurs there than everywhere.
    """

    outcome: str
    found: tuple[float, ...]
    lift: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Counts of held-out rows by actual class (line) and predicted class, in the order of `labels`."""

    labels: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The figures of fits on samples of the training rows (`models.evaluation.validation`).

    `cross_validation` is None if there is none, and `note` says why.
    """

    cross_validation: CrossValidation | None
    note: str
    learning_curve: tuple[CurvePoint, ...]
    importance: tuple[Importance, ...]
    importance_rows: int


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """The result of one of several declared estimators, on validation rows inside the training side.

    Attributes
    ----------
    name : str
    learnt_rows, rows : int
        Rows that it learnt from, and rows that it was measured on.
    loss : float
        The mean loss of the task.
    over_first, over_first_at_most : float
        `loss` less that of the first declared estimator, and the upper end of the 95 % interval of the difference.
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
    """The result of weighting the classes by the costs of errors, on validation rows inside the training side.

    Attributes
    ----------
    weights : dict of str to float
        The weight of each class; only their proportions count.
    learnt_rows, rows : int
        Rows that the estimator learnt from, and rows that it was measured on.
    without, with_weights : float
        The mean cost of the errors, each row weighted by what it stands for; both kinds of predictions are scaled by
        the scaling of the other folds.
    costs_more, costs_more_at_most : float
        `with_weights` less `without`, and the upper end of its 95 % interval.
    skill_lost : float
        By how much the loss of the task is higher with weights, as a share of the loss of the best constant.
    off : tuple of str
        Outcomes whose expected total is off with weights, and not without.
    learnt_share : float
        `learnt_rows` as a share of the rows that the measured pipeline learns from.
    scaling : Scaling or None
        The scaling of a weighted fit, from these rows.
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
        None without such rows.
    rows : int
    saves, saves_at_least : float or None
        By how much thresholds that were chosen on other entities lower the mean cost, and the lower end of the 95 %
        interval of this saving.
    threshold : float
        The threshold that is used.
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
    """The cost per row of a way to choose: as the predictions let expect, and as it was.

    `shares` are the shares of the rows by chosen class; `over_this` is the cost less that of the first way, which is
    the one of the version.
    """

    name: str
    shares: tuple[float, ...]
    expected: float
    cost: Figure
    over_this: Figure


@dataclass(frozen=True, kw_only=True)
class CostsOfErrors:
    """The declared costs of errors, and the choices that follow from them.

    Attributes
    ----------
    choices : tuple of str
        The names of the classes, in the order of `costs`.
    costs : tuple of tuple of float
        A line for each class that happens, a column for each class that is chosen.
    weights : WeightsTried or None
        None where the training side has too few rows to be split once more.
    threshold : ThresholdTried or None
        None for a task without a threshold.
    held_out, census : tuple of Way
        The way of the version first, then each class chosen in every row. Empty without a census.
    chosen : dict of str to Figure
        Precision, recall and F1 of the rows that the threshold picks of the held-out rows; empty for a task without a
        threshold.
    """

    choices: tuple[str, ...]
    costs: tuple[tuple[float, ...], ...]
    weights: WeightsTried | None
    threshold: ThresholdTried | None
    held_out: tuple[Way, ...]
    census: tuple[Way, ...]
    chosen: dict[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Total:
    """The expected total of an outcome, the sum of its predictions, and the actual one: a count of events, or a sum.

    `lower` and `upper` are the 95 % interval of expected less actual, over entities. `rest` is the same without the
    clock at which the two differ most; None if that is the last clock.
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
    """A version compared with the rule, on the rows of a census for which the rule has a value.

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
    """The expected and the actual outcomes of all entities that were open at past clocks.

    Attributes
    ----------
    clocks : tuple of str
        Midnights, UTC.
    rows, entities : int
    metrics : dict of str to Figure
    trivial_loss : float
        The loss of the best constant on these rows.
    totals : tuple of Total
        One per outcome.
    value_expected, value_actual : float or None
        The sum of probability times value, and the sum of the values where the outcome happened. None if no value is
        known, or the task has no such sum.
    slices : tuple of CensusSlice
        By clock, by band and by grade.
    grades : dict of str to float
        The bounds that divide these rows as declared.
    happened_to : dict of str to int
        To how many entities each outcome happened; empty for versions of an earlier state.
    beside_rule : BesideRule or None
        None if no rule is declared, or it has a value for no row.
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
    """The measured figures of a version.

    Attributes
    ----------
    model, version, task, primary_metric : str
    n, entities : int
        Held-out rows, and their entities.
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
        By outcome, for a task that measures each; None if the outcome does not occur.
    classes : dict of str to dict of str to Figure
        By outcome, where a task measures each: share, precision, recall, f1, auc.
    segments : tuple of Segment
    confusion : Confusion
    gains : tuple of Gains
    calibration : Calibration
    validation : Validation
    census : Census or None
        None if none was frozen, as for versions of an earlier recipe.
    hindsight : Hindsight or None
        None for versions of an earlier recipe.
    happened_to : dict of str to int
        As in `Census`, on the held-out rows.
    contest : tuple of Contestant
        Empty if one estimator is declared.
    costs : CostsOfErrors or None
        None if none are declared.
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
