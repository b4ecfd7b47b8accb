"""The declaration of a model: all that distinguishes one model from another, and nothing about how one is run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from models.declaring.attribute import Attribute
from models.declaring.columns import LABEL_MODEL_COLUMNS
from models.declaring.entity import DeclarationError
from models.declaring.feature_view import FeatureView
from models.declaring.policies import COST_GATES, DriftPolicy, RetrainPolicy
from models.tasks.task import Task

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


@dataclass(frozen=True, kw_only=True)
class RowWeight:
    """How much of a census a training row stands for, by what was known at its ``as_of``.

    Attributes
    ----------
    column : str
        A numeric column of the feature view, which is never null.
    at_least : float
        The weight of rows with a smaller value; every other row weighs its value.
    """

    column: str
    at_least: float


@dataclass(frozen=True, kw_only=True)
class RequiredFacts:
    """Facts without which a model has nothing to learn from its label.

    Parameters
    ----------
    condition : str
        The facts, as a condition in SQL on the columns of `Entity.facts`.
    absent : str
        The message if no such fact was known before the clock: what is missing, and what to do.
    ended : str
        The message if these facts end long before the clock, with the times ``{last}`` and ``{clock}``: for a label
        that says that nothing has happened, of which a feed that has ended looks like proof. Empty for other labels.
    if_ends : bool, optional
        Whether only a source that tells when an entity ends (`Entity.ends`) needs them, or only one that does not.
    """

    condition: str
    absent: str
    ended: str = ""
    if_ends: bool | None = None

    def applies(self, ends: bool) -> bool:
        """Return whether a source that tells when an entity ends, or does not, must have these facts."""
        return self.if_ends is None or self.if_ends == ends


@dataclass(frozen=True, kw_only=True)
class ModelDeclaration:
    """One model.

    Parameters
    ----------
    name : str
        Lower-case identifier; part of asset keys, paths and rows.
    description, owner : str
        For people: what is predicted, and who answers for it (an e-mail address, or ``team:name``).
    feature_view : FeatureView
        Where the features come from, in training and in scoring alike.
    scope : str
        Which observations the model is about, as a condition in SQL on the columns of the feature view; empty for all.
        Learning, measuring, drift and scoring leave out all other observations.
    rule : str
        The rule that people use without the model, in words that go on after "the rule,". Its prediction is ``value``
        of `Entity.values`. A version must beat the rule on the census, beyond chance, to be promoted. Empty for none.
    label, label_column : str
        The dbt label model and the column of it from which the task learns.
    horizon_days : int
        The outcome is what happens in ``[as_of, as_of + horizon_days)``.
    horizon_of : str
        Another model: if a setting or a mapping changes its horizon and not that of this model, this model takes it.
    task : Task
        The task (`models.tasks`), with the names of its outcomes and, if declared, the costs of errors.
    estimator : callable
        Returns an unfitted scikit-learn classifier, or regressor. It receives numeric columns with missing values (an
        estimator that cannot take them is declared as a `models.pickled.estimators.WeightedPipeline` with its own
        imputer). Every ``random_state`` in it is set from `seed`.
    estimators : mapping of str to callable
        Further estimators by name. Each is compared with `estimator` on validation rows inside the training side, and
        the one that beats it beyond noise is measured on the held-out rows and published in its place.
    row_weight : RowWeight or None
        A weight of the training rows, which is multiplied by `success_weight`; None for 1.
    success_weight : float
        Weight of the training rows whose entity is known to have succeeded afterwards; the others weigh 1.
    test_share : float
        Share of the entities that is held out: those created last. Of entities that last (`Entity.lasting`), the share
        of the observations: the last ones.
    primary_metric : str
        The metric in which a first champion must beat the trivial baseline.
    gates : mapping of str to float
        Bounds shown beside their values: a minimum, or a maximum where less is better. The names are the metrics of the
        task, its gates of each outcome and of what is chosen by costs, and those of `COST_GATES`. A missed gate is a
        warning to people; what decides promotion is the comparison with the baseline and the champion.
    grades : mapping of str to float
        For a graded task: each grade with the quantile of the predictions of a census at which it begins, from the best
        to the worst, which begins at 0.
    max_census_off : float
        How far the expected total of a candidate may lie from the actual total of a census, as a share of the actual
        total; in a band of silence, as a share of the total of the whole census. Beyond it, and beyond chance, a
        candidate is not promoted.
    max_skill_loss : float
        How far a candidate's skill (1 - loss / loss of the baseline) may lie below the champion's for it
        still to be promoted.
    max_skill : float
        The skill, on held-out rows or on a census, above which the model is too good to be believed.
    max_skill_alone : float
        The same bound for a single feature (`models.evaluation.hindsight.Alone`).
    since_outcomes : bool
        Whether labels exist only from the moment at which the source began to record outcomes (`Entity.outcomes`). The
        label model reads the variable ``<label>_since_us``.
    requires : tuple of RequiredFacts
        At least one fact of each must be known before the clock, or the model is not trained.
    seed : int
    drift : DriftPolicy
        When a difference between the champion's world and the present one counts as drift.
    retrain : RetrainPolicy
        When drift or age ask for a new training.
    """

    name: str
    description: str
    owner: str
    feature_view: FeatureView
    label: str
    label_column: str
    horizon_days: int
    task: Task
    estimator: Callable[[], BaseEstimator]
    primary_metric: str
    scope: str = ""
    rule: str = ""
    horizon_of: str = ""
    estimators: Mapping[str, Callable[[], BaseEstimator]] = field(default_factory=dict)
    row_weight: RowWeight | None = None
    success_weight: float = 1.0
    test_share: float = 0.3
    gates: Mapping[str, float] = field(default_factory=lambda: COST_GATES)
    grades: Mapping[str, float] = field(default_factory=dict)
    max_census_off: float = 0.1
    max_skill_loss: float = 0.02
    max_skill: float = 0.7
    max_skill_alone: float = 0.6
    since_outcomes: bool = False
    requires: tuple[RequiredFacts, ...] = ()
    seed: int = 7
    drift: DriftPolicy = field(default_factory=DriftPolicy)
    retrain: RetrainPolicy = field(default_factory=RetrainPolicy)

    def __post_init__(self) -> None:
        """Refuse a declaration that cannot be right, naming every field that is wrong."""
        known = self.task.metrics
        gated = {*known, *COST_GATES, *self.task.by_outcome_gates, *self.task.chosen_gates}
        quantiles = list(self.grades.values())
        problems = [
            problem
            for wrong, problem in (
                (not re.fullmatch(r"[a-z][a-z0-9_]*", self.name), "name must be a lower-case identifier"),
                *((True, problem) for problem in self.task.problems()),
                (self.label_column in LABEL_MODEL_COLUMNS, f"label_column must be none of {LABEL_MODEL_COLUMNS}"),
                (self.horizon_days < 1, f"horizon_days must be 1 or more, found {self.horizon_days}"),
                (not self.success_weight > 0, f"success_weight must be above 0, found {self.success_weight}"),
                (
                    self.row_weight is not None and not self.row_weight.at_least > 0,
                    f"row_weight.at_least must be above 0, found {self.row_weight}",
                ),
                (not self.max_census_off > 0, f"max_census_off must be above 0, found {self.max_census_off}"),
                (not 0 < self.test_share < 1, f"test_share must lie between 0 and 1, found {self.test_share}"),
                (self.max_skill_loss < 0, f"max_skill_loss must be 0 or more, found {self.max_skill_loss}"),
                (
                    not (0 < self.max_skill <= 1 and 0 < self.max_skill_alone <= 1),
                    f"max_skill and max_skill_alone must lie above 0 and be at most 1, found {self.max_skill} and "
                    f"{self.max_skill_alone}",
                ),
                (
                    self.retrain.settle_days < self.drift.window_days,
                    f"retrain.settle_days must be drift.window_days or more ({self.drift.window_days}), found "
                    f"{self.retrain.settle_days}: the window would hold days from before the drift",
                ),
                (
                    self.primary_metric not in known,
                    f"primary_metric must be one of {known}, found {self.primary_metric!r}",
                ),
                (not set(self.gates) <= gated, f"gates must be among {sorted(gated)}, found {sorted(self.gates)}"),
                (
                    bool(self.requires) and not self.feature_view.entity.facts,
                    "requires needs the facts of the feature view",
                ),
                (bool(self.rule) and not self.task.ruled, f"a {self.task.name} task has no rule beside it"),
                (
                    bool(self.rule) and not self.feature_view.entity.values,
                    "rule needs the values of the entity",
                ),
                (bool(quantiles) and not self.task.graded, f"a {self.task.name} task has no grades"),
                (
                    bool(quantiles)
                    and (quantiles != sorted(set(quantiles), reverse=True) or quantiles[-1] != 0 or quantiles[0] >= 1),
                    f"grades must fall from below 1 to 0, found {dict(self.grades)}",
                ),
            )
            if wrong
        ]
        if problems:
            raise DeclarationError(f"model {self.name!r}: {'; '.join(problems)}")

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The names of what is predicted."""
        return self.task.outcomes

    @property
    def scoped_view(self) -> str:
        """The rows of the feature view that the model is about, as a relation in SQL, which needs an alias."""
        return self.in_scope(f"{self.feature_view.schema}.{self.feature_view.name}")

    def in_scope(self, relation: str) -> str:
        """Return the rows in scope of a relation that has the columns of the feature view, as a relation in SQL."""
        return f"(select * from {relation} where {self.scope})" if self.scope else relation

    @property
    def not_features(self) -> frozenset[str]:
        """Columns of a training frame that are not learnt from: of the observation, of the label, and dropped ones."""
        view = self.feature_view
        return frozenset((*view.not_features, *view.dropped, *LABEL_MODEL_COLUMNS, self.label_column))

    def with_horizon(self, days: int) -> ModelDeclaration:
        """Return the same model over another horizon."""
        return replace(self, horizon_days=days)

    def with_attributes(self, attributes: Iterable[Attribute]) -> ModelDeclaration:
        """Return the same model for a source with attributes, whose features the view has after its own.

        Texts may become segments. The drift of dates, and of what counts as known only from an extraction, is shown and
        has no bound: both move as time goes by.
        """
        features = [
            (each, feature) for each in self.feature_view.of_attributes(attributes) for feature in each.features
        ]
        texts = tuple(feature.column for _, feature in features if feature.form == "text")
        moving = tuple(
            feature.column for each, feature in features if each.known == "extraction" or feature.form == "days"
        )
        view, drift = self.feature_view, self.drift
        return replace(
            self,
            feature_view=replace(view, further_segments=(*view.further_segments, *texts)),
            drift=replace(drift, shown_only=(*drift.shown_only, *moving)),
        )


@dataclass(frozen=True, kw_only=True)
class Horizons:
    """Horizons that replace those of the declarations, in days by model."""

    overrides: Mapping[str, int]

    def applied(self, declaration: ModelDeclaration, source_defaults: Mapping[str, int]) -> ModelDeclaration:
        """Return the declaration over the horizon that applies: a setting's, else the mapping's, else its own."""
        for horizons in (self.overrides, source_defaults):
            for name in (declaration.name, declaration.horizon_of):
                if name in horizons:
                    return declaration.with_horizon(horizons[name])
        return declaration
