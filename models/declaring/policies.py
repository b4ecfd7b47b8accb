"""Policies of a model: bounds on the cost of a version, when a difference is drift, and when to train anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

COST_GATES: Mapping[str, float] = MappingProxyType(
    {
        "entities": 10_000,
        "cv_spread": 0.05,
        "training_minutes": 10,
        "prediction_milliseconds": 50,
        "file_megabytes": 50,
    }
)
"""Gates of every model beside those of its metrics: entities that the source has, std / mean of the primary
metric in cross-validation, the time to train it and to predict one row, and the size of its file."""

COST_AT_LEAST = frozenset({"entities"})
"""The gates of `COST_GATES` that are minimums."""

BINS = 10
"""Bins of the population stability index of a number."""


@dataclass(frozen=True, kw_only=True)
class DriftPolicy:
    """When a difference counts as drift.

    The bounds are effect sizes. By a p-value every difference is significant once there are enough rows, and people
    ignore a check that fails every morning. The minimum counts keep differences by chance below the bounds.

    Parameters
    ----------
    shown_only : tuple of str
        Features that are measured without a bound, because they move with the season (the age of the entities follows
        how many came in which month), with how long lasting entities have been there, or with how long their history
        has been kept.
    window_days : int
        Length of the current window, which ends at the clock, and of the reference window, which ends when the
        champion was trained. Whole months of days, so that weekdays weigh about the same on both sides.
    max_psi : float
        Bound of each feature's population stability index, beyond what chance adds to it (`psi_bound`). Its usual
        reading is: below 0.1 nothing to speak of, from 0.1 a moderate shift, above 0.25 a major one. One feature
        above the bound fails the check, because one column that matters (the value of what is sold, the source of
        the entities) is enough to change the world. Seasonal features belong in `shown_only`.
    max_prediction_psi : float
        The same for the predictions of each outcome.
    min_rows, min_entities : int
        Observations and entities that each window needs. With 500 entities the bound lies six standard deviations
        above what chance gives on average.
    max_ranking_drop : float
        How far the ranking of the task (the area under the ROC curve of classes), as the mean over the outcomes, may
        lie below that of the champion's held-out rows.
    max_calibration_gap : float
        How far the bias of an outcome (the mean probability less the observed rate of classes) may have moved from
        that of the held-out rows (weighted training rows shift probabilities on purpose).
    min_performance_rows, min_positives : int
        Matured observations, and entities with an outcome, that the performance needs. The standard error of an area
        of .75 is about sqrt(.08 / positives): .028 for 100.
    """

    shown_only: tuple[str, ...] = ()
    window_days: int = 30
    max_psi: float = 0.12
    max_prediction_psi: float = 0.12
    min_rows: int = 500
    min_entities: int = 500
    max_ranking_drop: float = 0.07
    max_calibration_gap: float = 0.07
    min_performance_rows: int = 500
    min_positives: int = 100

    def __post_init__(self) -> None:
        """Refuse bounds that no figure could keep or break."""
        wrong = [name for name, value in vars(self).items() if name != "shown_only" and not value > 0]
        if wrong:
            raise ValueError(f"drift policy: expected values above 0, found others for {wrong}")

    def psi_bound(self, check: str, entities_reference: int, entities_current: int) -> float:
        """Return the bound of a population stability index: the declared one plus what chance adds on average.

        Without any drift the index over B bins of samples of n and m is distributed as (1/n + 1/m) times chi-square
        with B - 1 degrees of freedom (Yurdakul, Statistical properties of the population stability index, 2018).
        Entities are counted and not observations, because observations of one entity are much alike.
        """
        declared = self.max_psi if check == "features" else self.max_prediction_psi
        return declared + (BINS - 1) * (1 / entities_reference + 1 / entities_current)


@dataclass(frozen=True, kw_only=True)
class RetrainPolicy:
    """When drift or age ask for a new training. Days are days of the data's clock.

    Parameters
    ----------
    settle_days : int
        Days for which every look must have found drift. At least the window of the drift policy: only then does the
        whole current window lie in the changed world. A champion trained earlier has a mixture of two worlds as its
        reference, and drifts again.
    settle_days_on_labels : int
        The same if only the performance has failed. Performance is measured on labels, and each label covers a whole
        horizon: the first labels that show a change began before it, and a training on them learns mostly the old
        world and has to be repeated. Waiting for labels that began after the onset takes too long: by then the
        held-out rows lie in the new world and the training rows do not, so the training is refused.
    cooldown_days : int
        Days after a training of the model in which no other one is started.
    max_champion_age_days : int
        Age of the champion's training from which on a model is trained anew without drift, if labels have matured.
    min_new_labels : int
        Labels that must have matured since the onset of the drift, or since the training: with fewer, a training
        learns the old world once more.
    """

    settle_days: int = 30
    settle_days_on_labels: int = 60
    cooldown_days: int = 30
    max_champion_age_days: int = 180
    min_new_labels: int = 500

    def __post_init__(self) -> None:
        """Refuse negative values."""
        wrong = [name for name, value in vars(self).items() if value < 0]
        if wrong:
            raise ValueError(f"retrain policy: expected values of 0 or more, found others for {wrong}")
