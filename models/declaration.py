"""The declaration of a model: all that distinguishes one model from another, and nothing about how one is run."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from models.drift import DriftPolicy
from models.retraining import RetrainPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sklearn.base import BaseEstimator

Task = Literal["binary", "multiclass"]

AS_OF = "as_of"
SUCCEEDED_AT = "succeeded_at"
VALUE = "value"
"""Column of `FeatureView.value_table`: what an entity was worth at ``as_of``, as far as was known then."""
LABEL_MODEL_COLUMNS = (SUCCEEDED_AT, "matures_at", "horizon_days")
"""Columns that a label model may carry beside its outcome. They tell the future, so none of them is ever a feature."""

METRICS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "binary": ("auc", "pr_auc", "brier", "log_loss", "ece_10", "base_rate"),
        "multiclass": ("accuracy", "weighted_f1", "macro_f1", "macro_auc", "log_loss"),
    }
)
"""The metrics of each task, in the order in which they are shown."""

RECALL = "recall"
"""A gate on the recall of each outcome of a multiclass task."""

COST_GATES: Mapping[str, float] = MappingProxyType(
    {
        "leads": 10_000,
        "cv_spread": 0.05,
        "training_minutes": 10,
        "prediction_milliseconds": 50,
        "file_megabytes": 50,
    }
)
"""What every model is held to beside its metrics: entities that the source has, std / mean of the primary
metric in cross-validation, the time to train it and to predict one row, and the size of its file."""

LOWER_IS_BETTER = frozenset({"brier", "log_loss", "ece_10", *COST_GATES} - {"leads"})

Split = Literal["temporal", "stratified"]
SPLITS: tuple[Split, ...] = ("temporal", "stratified")


class DeclarationError(ValueError):
    """A declaration that cannot be right; the message names the declaration, the field and what was expected."""


@dataclass(frozen=True, kw_only=True)
class RowWeight:
    """How much of a census a training row stands for, by what was known at its ``as_of``.

    Attributes
    ----------
    column : str
        A numeric column of the feature view, which is never null.
    at_least : float
        The weight of rows whose value is smaller; the others weigh their value.
    """

    column: str
    at_least: float


@dataclass(frozen=True, kw_only=True)
class RequiredFacts:
    """Facts without which a label says nothing, so that there is nothing to learn.

    Parameters
    ----------
    condition : str
        Which facts, as SQL on the columns of `FeatureView.facts`.
    absent : str
        Said where there is none that was known before the clock: what is missing, and what to do.
    """

    condition: str
    absent: str


@dataclass(frozen=True, kw_only=True)
class FeatureView:
    """A dbt model with one row per observation, from which models learn and on which they score.

    Parameters
    ----------
    name, schema : str
        The table.
    entity : str
        What a row is about, in the singular.
    key : str
        The column that identifies the entity.
    created : str
        The column with the time at which the entity came into being; entities are split by it.
    not_features : tuple of str
        Columns of the view that describe the observation and are not learnt from.
    dropped : tuple of str
        Features that another one all but repeats, or that tell little but the date. The dbt project says which
        (``meta.dropped``). They stay in the view, for people, and are not learnt from.
    segments : tuple of str
        Columns by whose values held-out rows are measured apart, where they are there.
    entity_table : str
        Table with one row per entity as it is today, by `key`.
    entity_columns : mapping of str to str
        Columns of it that training rows carry to be told apart by, by the name that they get there. They are
        overwritten, so they must be in `not_features`.
    bands : mapping of str to tuple of float
        Columns by which a census is measured apart: the lower bounds of the bands of a number above the lowest one, or
        nothing for the values of a text.
    silence : str
        That of `bands` with the days since the entity's last fact, each band of which is held to what happened before
        a version is promoted.
    ranges : tuple of str
        Features of which training must have seen the like of what is scored; where it has not, the score is marked.
    value_table : str
        Table with the column ``value`` by `key` and ``as_of``: what an entity of a census is worth.
    facts : str
        Table with one row per fact, with ``known_us``, the microseconds since 1970 from which it was known.
    settles : str
        Which facts settle an entity, well or badly, as SQL on the columns of `facts`; ``{closing_outcomes}`` stands for
        the outcomes of interactions that the source mapping lists as closing.
    settling_statuses : str
        Where statuses of the entity itself settle it: the SELECT of the key and ``known_us``, with
        ``{closing_lead_statuses}`` for those that the source mapping lists.
    """

    name: str
    schema: str
    entity: str
    key: str
    created: str
    not_features: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    entity_table: str = ""
    entity_columns: Mapping[str, str] = field(default_factory=dict)
    bands: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    silence: str = ""
    ranges: tuple[str, ...] = ()
    value_table: str = ""
    facts: str = ""
    settles: str = ""
    settling_statuses: str = ""

    def __post_init__(self) -> None:
        """Refuse a view whose own key, clock or creation time would be learnt from, or that settles without facts."""
        if self.settles and not self.facts:
            raise DeclarationError(f"feature view {self.name!r}: settles needs the facts of the view")
        described = (self.key, AS_OF, self.created, *self.entity_columns)
        missing = [column for column in described if column not in self.not_features]
        if missing:
            raise DeclarationError(
                f"feature view {self.name!r}: not_features must hold the key, {AS_OF!r}, the creation time and the "
                f"columns of the entity; {missing} would become features"
            )


LEAD_FEATURES = FeatureView(
    name="lead_features",
    schema="features",
    entity="lead",
    key="lead_id",
    created="lead_created_at",
    not_features=("lead_id", AS_OF, "observation_kind", "lead_created_at", "assigned_to"),
    dropped=(
        "facts_count_7d",
        "internal_count_7d",
        "outbound_calls_count_7d",
        "facts_count_30d",
        "web_visits_count_30d",
        "internal_count_30d",
        "facts_count_90d",
        "sms_count_90d",
        "meetings_count_90d",
        "web_visits_count_90d",
        "proposal_messages_count_90d",
        "internal_count_90d",
        "outbound_calls_count_90d",
        "inbound_calls_count_90d",
        "inbound_emails_count_90d",
        "facts_count_lifetime",
        "sms_count_lifetime",
        "web_visits_count_lifetime",
        "internal_count_lifetime",
        "outbound_calls_count_lifetime",
        "days_since_oldest_open_proposal",
        "proposals_count_lifetime",
        "open_proposals_count",
        "days_since_last_status_change",
        "days_since_last_owner_change",
        "rep_closed_leads_count_lifetime",
        "rep_win_rate_lifetime",
        "rep_first_outbound_hours_lifetime",
        "source_closed_leads_count_lifetime",
        "source_win_rate_lifetime",
        "source_first_outbound_hours_lifetime",
        "urgency_score",
    ),
    segments=("lead_source", "property_value_tier", "assigned_to"),
    entity_table="staging.stg_leads",
    entity_columns=MappingProxyType({"assigned_to": "current_assigned_to"}),
    bands=MappingProxyType(
        {
            "days_since_last_fact": (7, 28, 56, 112),
            "lead_age_days": (28, 90, 180, 360),
            "lead_source": (),
        }
    ),
    silence="days_since_last_fact",
    ranges=(
        "lead_age_days",
        "days_since_last_fact",
        "property_value",
        "lead_source",
        "property_value_tier",
        "zip_prefix",
    ),
    value_table="intermediate.lead_values",
    facts="intermediate.timeline",
    settles="fact = 'project_closed' or (fact = 'interaction' and outcome in ({closing_outcomes}))",
    settling_statuses="select lead_id, known_us from staging.stg_changes where lead_column = 'lead_status' "
    "and value in ({closing_lead_statuses})",
)

SILENCE = RowWeight(column="days_since_last_fact", at_least=7)
"""Weighs a row of leads by how long it stands for: the next midnight at which a silent lead is observed lies about as
many days ahead as it has been silent. Without it the rows of long silence, which are few, hardly count, though most
open leads of a census are silent."""


SEASONAL = ("lead_age_days", "as_of_weekday", "is_weekend", "hour_of_first_contact")
"""Features of leads that move with the calendar and with how many leads came when."""

OWN_HISTORY = (
    "status_as_of",
    "days_since_last_status_change",
    "status_changes_count_lifetime",
    "days_since_last_owner_change",
    "owner_changes_count_lifetime",
    "property_value_rises_count_lifetime",
    "property_value_cuts_count_lifetime",
    "property_value_change_rate",
)
"""Features of leads that fill up from the first extraction on, where the CRM keeps no history of what it overwrites."""


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
    label, label_column : str
        The dbt label model and its outcome column: 0/1 or boolean for a binary task, a class name for a multiclass one.
    horizon_days : int
        The outcome is what happens in ``[as_of, as_of + horizon_days)``.
    task : {"binary", "multiclass"}
    outcomes : tuple of str
        The classes for which probabilities are published; for a binary task the one name of the positive outcome.
    estimator : callable
        Returns an unfitted scikit-learn classifier. It receives numeric columns with missing values (an estimator
        that cannot take them is declared as a pipeline with its own imputer). Every ``random_state`` in it is set
        from `seed`.
    row_weight : RowWeight or None
        What the training rows weigh beside that; None for 1.
    success_weight : float
        Weight of the training rows whose entity is known to have succeeded afterwards; the others weigh 1.
    test_share : float
        Share of the entities, the latest created, that is held out.
    primary_metric : str
        The metric in which a first champion must beat the trivial baseline.
    split : {"temporal", "stratified"}
        How held-out rows are chosen (`models.splitting`); a version with a stratified split is never promoted.
    gates : mapping of str to float
        Bounds shown beside their values: a minimum, or a maximum where less is better. The names are the metrics of
        the task, ``recall`` (of each outcome) for a multiclass one, and those of `COST_GATES`. A missed gate is a
        warning to people; what decides promotion is the comparison with the baseline and the champion.
    grades : mapping of str to float
        For a binary task: grade to the quantile of the predictions of a census at which it begins, from the best to
        the worst, which begins at 0.
    max_census_off : float
        By which share of what happened a candidate may expect more or less over a census, and in a band of silence
        by which share of what happened over all of it; beyond that, and beyond chance, it is not promoted.
    max_skill_loss : float
        How far a candidate's skill (1 - log-loss / log-loss of the baseline) may lie below the champion's for it
        still to be promoted.
    max_skill : float
        The skill, on held-out rows or on a census, from which on the model is too good to be believed.
    max_skill_alone : float
        That of a single feature (`models.hindsight.Alone`).
    requires : tuple of RequiredFacts
        At least one fact of each must be known before the clock, or the model is not trained.
    seed : int
    drift : DriftPolicy
        When a difference between the champion's world and the present one counts as drift.
    retrain : RetrainPolicy
        When drift or age lead to a new training.
    """

    name: str
    description: str
    owner: str
    feature_view: FeatureView
    label: str
    label_column: str
    horizon_days: int
    task: Task
    outcomes: tuple[str, ...]
    estimator: Callable[[], BaseEstimator]
    primary_metric: str
    row_weight: RowWeight | None = None
    success_weight: float = 1.0
    test_share: float = 0.3
    split: Split = "temporal"
    gates: Mapping[str, float] = field(default_factory=lambda: COST_GATES)
    grades: Mapping[str, float] = field(default_factory=dict)
    max_census_off: float = 0.1
    max_skill_loss: float = 0.02
    max_skill: float = 0.7
    max_skill_alone: float = 0.6
    requires: tuple[RequiredFacts, ...] = ()
    seed: int = 7
    drift: DriftPolicy = field(default_factory=DriftPolicy)
    retrain: RetrainPolicy = field(default_factory=RetrainPolicy)

    def __post_init__(self) -> None:
        """Refuse a declaration that cannot be right, naming every field that is wrong."""
        known = METRICS.get(self.task, ())
        gated = {*known, *COST_GATES, *((RECALL,) if self.task == "multiclass" else ())}
        quantiles = list(self.grades.values())
        problems = [
            problem
            for wrong, problem in (
                (not re.fullmatch(r"[a-z][a-z0-9_]*", self.name), "name must be a lower-case identifier"),
                (self.task not in METRICS, f"task must be one of {list(METRICS)}, found {self.task!r}"),
                (
                    self.task == "binary" and len(self.outcomes) != 1,
                    f"a binary task has one outcome, found {self.outcomes}",
                ),
                (
                    self.task == "multiclass" and len(self.outcomes) < 3,
                    f"a multiclass task has three or more outcomes, found {self.outcomes}",
                ),
                (len(set(self.outcomes)) != len(self.outcomes), f"outcomes must differ, found {self.outcomes}"),
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
                (self.split not in SPLITS, f"split must be one of {SPLITS}, found {self.split!r}"),
                (bool(self.requires) and not self.feature_view.facts, "requires needs the facts of the feature view"),
                (self.task == "multiclass" and bool(quantiles), "grades are for binary tasks"),
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
    def not_features(self) -> frozenset[str]:
        """Columns of a training frame that are not learnt from: of the observation, of the label, and dropped ones."""
        view = self.feature_view
        return frozenset((*view.not_features, *view.dropped, *LABEL_MODEL_COLUMNS, self.label_column))

    @property
    def published_columns(self) -> tuple[str, ...]:
        """Names, unique among all models, under which the probabilities can be published side by side."""
        return tuple(f"{outcome}_probability" for outcome in self.outcomes)

    def with_horizon(self, days: int) -> ModelDeclaration:
        """Return the same model over another horizon."""
        return replace(self, horizon_days=days)

    def with_split(self, split: Split) -> ModelDeclaration:
        """Return the same model, measured on rows that are chosen otherwise."""
        return replace(self, split=split)

    def fingerprint(self) -> str:
        """Hash everything in the declaration that changes what is learnt or stored with it.

        Returns
        -------
        str
            64 hexadecimal digits. Equal in every process; descriptions, owners, gates and promotion tolerances do
            not enter.

        Raises
        ------
        DeclarationError
            If a parameter of the estimator has no stable representation (a lambda, for example).
        """
        from models.learning import build_pipeline

        parameters = {name: repr(value) for name, value in build_pipeline(self).get_params().items()}
        unstable = sorted(name for name, value in parameters.items() if " at 0x" in value)
        if unstable:
            raise DeclarationError(
                f"model {self.name!r}: the estimator's parameters {unstable} are represented by their "
                "memory address, so equal models "
                "would get different versions; use named values or objects with a stable repr"
            )
        learnt = {
            "name": self.name,
            "key": self.feature_view.key,
            "not_features": sorted(self.not_features),
            "label": [self.label, self.label_column, self.horizon_days, self.task, list(self.outcomes)],
            "weights": [self.success_weight, self.row_weight and [self.row_weight.column, self.row_weight.at_least]],
            "test_share": self.test_share,
            "split": self.split,
            "segments": list(self.feature_view.segments),
            "bands": {name: list(bounds) for name, bounds in self.feature_view.bands.items()},
            "ranges": list(self.feature_view.ranges),
            "primary_metric": self.primary_metric,
            "grades": dict(self.grades),
            "seed": self.seed,
            "pipeline": parameters,
        }
        return hashlib.sha256(json.dumps(learnt, sort_keys=True).encode()).hexdigest()
